"""A mail server on loopback, for every client of the town: it takes mail into the ledger and sends none on.

It listens on a port of its own from the first time somebody asks for a connection. Sign in with the client's id and password; the
sender must be of the client's domain. Recipients called `nobody@`, `full@` and `blocked@` are refused as real servers do, and
`greylisted@` for now. Faults strike at `/data`: those before the commit on DATA, the others after the last dot. A mail whose
subject says `[spam]` is refused after the last dot.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import SMTP
from typing import Any, ClassVar

from connectors.base import Secret
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import LOST_ANSWERS, Reply, Request, SandboxProvider, World, json_reply

REFUSED = {
    "nobody": "550 5.1.1 No such user here",
    "full": "552 5.2.2 Mailbox full",
    "blocked": "550 5.7.1 Message refused by policy",
    "greylisted": "450 4.2.0 Greylisted, try again later",
}
LONGEST_LINE = 1000
BEFORE = ("429", "500", "reset", "slow", "timeout")
AFTER = (*LOST_ANSWERS, "500_after_commit")


class SandboxSmtp(SandboxProvider):
    name: ClassVar[str] = "smtp"

    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        self.tls: ssl.SSLContext | None = None  # set it before the first connection: STARTTLS is offered
        self.tls_at_once = False  # TLS from the first byte, as on port 465
        self._server: _Server | None = None
        self._clients = {client.client_id: client for client in town.clients}

    @property
    def port(self) -> int:
        if self._server is None:
            self._server = _Server(self)
            threading.Thread(target=self._server.serve_forever, args=(0.1,), name="sandbox-smtp", daemon=True).start()
        return int(self._server.server_address[1])

    def close(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def env(self, root: str) -> dict[str, str]:
        return {}  # host and port stand in the clients file

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "security": "none",
            "username": client.client_id,
            "password": Secret(self.password(client)),
            "from_address": f"office@{client.domain}",
            "from_name": client.name,
        }

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        return {**self.connection(client, root), "password": self.password(client)}

    def password(self, client: Client) -> str:
        return self.world.secret("smtp", client.client_id)

    def signed_in(self, username: str, password: str) -> Client | None:
        client = self._clients.get(username)
        return client if client and password == self.password(client) else None

    def handle(self, request: Request) -> Reply:
        return json_reply({"error": "mail is taken by SMTP, not by HTTP", "port": self.port}, 404)

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        return iter(())

    def take(self, client: Client, sender: str, recipients: list[str], raw: bytes) -> None:
        mail = message_from_bytes(raw, policy=SMTP)
        parts = {
            part.get_content_type(): part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"
        }
        headers = {name: str(value) for name, value in mail.items()}
        body = {"client_id": client.client_id, "from": sender, "to": recipients, "headers": headers, "parts": parts}
        self.world.wrote("smtp", "email", {"message_id": headers.get("Message-ID", ""), **body})


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, sandbox: SandboxSmtp) -> None:
        self.sandbox = sandbox
        super().__init__(("127.0.0.1", 0), _Session)


class _Leave(Exception):
    """The connection ends here, without another word."""


class _Session(socketserver.BaseRequestHandler):
    """One connection: a command a line, an answer each."""

    server: _Server

    def handle(self) -> None:
        self.sandbox = self.server.sandbox
        self.client: Client | None = None
        self.sender, self.recipients = "", list[str]()
        self.secure = self.sandbox.tls_at_once
        self.socket: socket.socket = self.request  # until TLS is agreed on, which may fail
        try:
            self._open(self.request, self.secure)
            self._say("220 sandbox ESMTP")
            while line := self.stream.readline(LONGEST_LINE):
                verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
                self._obey(verb.upper(), rest)
        except (_Leave, OSError, ValueError):
            pass
        finally:
            self.socket.close()

    def _open(self, plain: socket.socket, secure: bool) -> None:
        plain.settimeout(30)
        self.socket = self.sandbox.tls.wrap_socket(plain, server_side=True) if secure and self.sandbox.tls else plain
        self.stream = self.socket.makefile("rb")

    def _say(self, *lines: str) -> None:
        parts = [line[:3] + ("-" if i < len(lines) - 1 else " ") + line[4:] for i, line in enumerate(lines)]
        self.socket.sendall("".join(f"{part}\r\n" for part in parts).encode())

    def _obey(self, verb: str, rest: str) -> None:
        match verb:
            case "EHLO" | "HELO":
                tls = ["250 STARTTLS"] if self.sandbox.tls and not self.secure else []
                self._say("250 sandbox", *tls, "250 SIZE 10485760", "250 AUTH PLAIN LOGIN", "250 ENHANCEDSTATUSCODES")
            case "STARTTLS" if self.sandbox.tls and not self.secure:
                self._say("220 2.0.0 Go ahead")
                self.secure, self.client = True, None
                self._open(self.request, True)
            case "AUTH":
                self._sign_in(rest)
            case "MAIL":
                self._mail(_path(rest))
            case "RCPT":
                self._recipient(_path(rest))
            case "DATA":
                self._data()
            case "RSET":
                self.sender, self.recipients = "", []
                self._say("250 2.0.0 OK")
            case "NOOP":
                self._say("250 2.0.0 OK")
            case "QUIT":
                self._say("221 2.0.0 Bye")
                raise _Leave
            case _:
                self._say("502 5.5.1 Command not implemented")

    def _sign_in(self, rest: str) -> None:
        way, _, given = rest.partition(" ")
        try:
            if way.upper() == "PLAIN":
                _, user, password = base64.b64decode(given or self._ask("")).decode().split("\0")
            else:
                user = base64.b64decode(given or self._ask("VXNlcm5hbWU6")).decode()
                password = base64.b64decode(self._ask("UGFzc3dvcmQ6")).decode()
        except (binascii.Error, ValueError):
            return self._say("501 5.5.2 Cannot decode")
        self.client = self.sandbox.signed_in(user, password)
        self._say("235 2.7.0 Welcome" if self.client else "535 5.7.8 Authentication credentials invalid")

    def _ask(self, prompt: str) -> str:
        self._say(f"334 {prompt}")
        return self.stream.readline(LONGEST_LINE).decode().strip()

    def _mail(self, sender: str) -> None:
        if self.client is None:
            return self._say("530 5.7.0 Authentication required")
        if not sender.endswith(f"@{self.client.domain}"):
            return self._say("550 5.7.1 Sender is not yours")
        self.sender, self.recipients = sender, []
        self._say("250 2.1.0 OK")

    def _recipient(self, to: str) -> None:
        refusal = REFUSED.get(to.partition("@")[0]) or ("" if self.sender else "503 5.5.1 MAIL first")
        if refusal:
            return self._say(refusal)
        self.recipients.append(to)
        self._say("250 2.1.5 OK")

    def _data(self) -> None:
        if not self.recipients or self.client is None:
            return self._say("503 5.5.1 RCPT first")
        world = self.sandbox.world
        fault = world.struck("smtp", "/data", BEFORE)
        if fault and fault.kind in ("slow", "timeout"):
            time.sleep(fault.seconds)
        if fault and fault.kind in ("reset", "timeout"):
            raise _Leave
        if fault and fault.kind in ("429", "500"):
            return self._say("450 4.7.1 Too many messages" if fault.kind == "429" else "451 4.3.0 Local error")
        self._say("354 Go on, end with a dot")
        lines = []
        while (line := self.stream.readline()) != b".\r\n":
            if not line:
                raise _Leave
            lines.append(line[1:] if line.startswith(b".") else line)
        raw = b"".join(lines)
        if b"[spam]" in raw:
            return self._say("554 5.7.1 Message refused as spam")
        self.sandbox.take(self.client, self.sender, self.recipients, raw)
        self.sender, self.recipients = "", []
        after = world.struck("smtp", "/data", AFTER)
        if after and after.kind == "timeout_after_commit":
            time.sleep(after.seconds)
        if after and after.kind in LOST_ANSWERS:
            raise _Leave
        self._say("451 4.3.0 Local error" if after else "250 2.0.0 Queued")


def _path(rest: str) -> str:
    found = re.search(r"<([^>]*)>", rest)
    return found[1].lower() if found else ""
