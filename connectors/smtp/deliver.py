"""Handing a mail to the server at most once, and what its answers mean."""

from __future__ import annotations

import logging
import re
import smtplib
from datetime import datetime
from email.message import EmailMessage as Mail
from hashlib import sha256
from typing import TYPE_CHECKING

from connectors.base import CredentialError, Health, ProviderDown, RateLimited
from connectors.delivery import (
    Change,
    Diff,
    EmailMessage,
    Reason,
    Receipt,
    Unconfirmable,
    Unconfirmed,
    Undeliverable,
)
from connectors.http import stop_if_late
from connectors.smtp.letter import compose, on_the_wire, wrong_in

if TYPE_CHECKING:
    from connectors.smtp.connector import Smtp

log = logging.getLogger("leadtrail.smtp")

ENHANCED = re.compile(rb"\s*([245]\.\d{1,3}\.\d{1,3})\b")
SHOWN = frozenset(
    ("From", "To", "Reply-To", "Subject", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted")
)


class SmtpDeliverer:
    def __init__(self, smtp: Smtp) -> None:
        self.smtp, self.options, self.connection = smtp, smtp.options, smtp.connection

    def prepare(self) -> Health:
        return self.smtp.check()

    def deliver(self, message: EmailMessage) -> Receipt:
        begun = self.smtp.http.clock.now()
        body = on_the_wire(self._composed(message, begun))
        with self.smtp.session() as server:
            try:
                bounces = self.options.bounce_address or self._sender(message)
                self._expect(250, *server.mail(bounces), of="the sender")
                self._expect(250, *server.rcpt(message.to), of="the recipient")
                self._expect(354, *server.docmd("DATA"), of="the mail")
                server.send(body)
            except (OSError, smtplib.SMTPException) as error:
                raise ProviderDown(  # without the last dot, nothing is taken
                    f"the mail server went away before it had the mail ({type(error).__name__}).",
                    connection=self.connection,
                    fix="It is tried again; no action is needed unless it repeats.",
                ) from None
            stop_if_late(self.smtp.http.clock, self.connection)
            code, words = self._last_answer(server, message, begun)
        if not 200 <= code < 300:
            self._expect(250, code, words, of="the mail")
        log.info("%s: a mail was taken (%d)", self.connection, code)
        return Receipt(
            "smtp", self.message_id(message), "accepted", begun, {"code": code, "enhanced": _enhanced(words)}
        )

    def find(self, message: EmailMessage, *, since: datetime) -> Receipt | None:
        raise Unconfirmable(
            "a mail server cannot be asked what it took.",
            connection=self.connection,
            fix=f"Look for Message-ID {self.message_id(message)} in its log or sent folder, then say whether it was sent.",
            key=message.key,
        )

    def preview(self, message: EmailMessage) -> Diff:
        mail = self._composed(message, self.smtp.http.clock.now())
        fields = {name: str(value) for name, value in mail.items() if name in SHOWN}
        for part in mail.walk():
            if part.get_content_maintype() == "text":
                fields[part.get_content_type()] = part.get_content()
        return Diff("smtp", "send", "e-mail", tuple(Change(name, None, value) for name, value in fields.items()))

    def message_id(self, message: EmailMessage) -> str:
        """Of the connection's own domain, so that it stays when a message's sender changes."""
        digest = sha256(f"{self.connection}:{message.key}".encode()).hexdigest()[:40]
        return f"<{digest}@{self.options.from_address.partition('@')[2]}>"

    def _sender(self, message: EmailMessage) -> str:
        return message.sender or self.options.from_address

    def _composed(self, message: EmailMessage, now: datetime) -> Mail:
        sender, name = self._sender(message), message.sender_name or self.options.from_name
        senders = (sender, *filter(None, (message.reply_to, self.options.bounce_address)))
        if wrong := wrong_in(message, name=name, senders=senders):
            raise self._refused(*wrong)
        return compose(message, sender=sender, name=name, message_id=self.message_id(message), at=now)

    # ---- what the server says ----

    def _last_answer(self, server: smtplib.SMTP, message: EmailMessage, begun: datetime) -> tuple[int, bytes]:
        """From the first byte of the last dot on, the mail may be taken."""
        try:
            server.send(b".\r\n")
            code, words = server.getreply()
        except (OSError, smtplib.SMTPException):
            code, words = -1, b""
        if code < 200 or 300 <= code < 400:
            raise Unconfirmed(
                "the mail server did not say whether it took the mail.",
                connection=self.connection,
                key=message.key,
                sent_at=begun,
                ask_at=begun,
            )
        return code, words

    def _expect(self, wanted: int, code: int, words: bytes, *, of: str) -> None:
        """Raises what an answer other than the wanted one means. An answer, whatever it says, means that nothing was sent."""
        if code == wanted or (wanted == 250 and code == 251):
            return
        enhanced = _enhanced(words)
        said = f"the mail server refused {of} ({code}{f' {enhanced}' if enhanced else ''})"
        if code in (530, 535):
            raise CredentialError(
                f"{said}: it wants a login.",
                connection=self.connection,
                fix="Set username and password, then run `leadtrail check`.",
            )
        if code == 421 or (code < 500 and enhanced.startswith("4.7.")):
            raise RateLimited(f"{said} for now.", connection=self.connection, fix="It is tried again later.")
        if code < 500:
            raise ProviderDown(f"{said} for now.", connection=self.connection, fix="It is tried again later.")
        raise self._refused(f"{said}.", _reason(of, code, enhanced), code, enhanced)

    def _refused(self, what: str, reason: Reason, code: int = 0, enhanced: str = "") -> Undeliverable:
        fixes: dict[Reason, str] = {
            "bad_address": "Call instead, or correct the address if it is known better.",
            "unreachable": "One more try later is worth it.",
            "blocked": "Look in the mail server's log why the recipient's side refuses.",
            "filtered": "It was taken for spam: have its words and the domain's SPF, DKIM and DMARC looked at.",
            "sender": "Correct the client's sender addresses, or let the mail server allow them.",
            "content": "Correct the template.",
        }
        fix = fixes.get(reason, "Look in the mail server's log.")
        return Undeliverable(what, connection=self.connection, fix=fix, reason=reason, status=code, code=enhanced)


def _enhanced(words: bytes) -> str:
    found = ENHANCED.match(words)
    return found[1].decode() if found else ""


def _reason(of: str, code: int, enhanced: str) -> Reason:
    if of == "the sender":
        return "sender"
    if of == "the mail":
        return "filtered" if code == 554 or enhanced.startswith("5.7.") else "content"
    if enhanced == "5.2.2" or code == 552:
        return "unreachable"  # the mailbox is full
    if enhanced.startswith("5.7.") or (code == 554 and not enhanced):
        return "blocked"
    return "bad_address"
