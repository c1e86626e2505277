"""E-mail through any SMTP server: nothing is read here, only sent.

    MAIL, RCPT, DATA  <-  delivery.EmailMessage

Facts that shaped this:
- A server answers once, after the last dot. Everything before that is surely not sent; a connection that breaks while we wait for
  that answer leaves it open, and SMTP has no way to ask later. Such a mail is never sent again by itself.
- The Message-ID is made of our key, so it is the same however often a mail is built: bounces, replies and events name it, and
  many mailboxes show two mails with one Message-ID as one.
- 250 means that the server took it, not that it arrived: bounces come later, as mails or as events of the server's operator.
- A reply's words quote addresses. Only its codes (RFC 5321 and RFC 3463) are kept.
"""

from __future__ import annotations

import contextlib
import html
import logging
import re
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage as Mail
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import ClassVar, Literal

from connectors.base import (
    SETTLES,
    ConfigError,
    Connector,
    ConnectorError,
    CredentialError,
    Health,
    ProviderDown,
    RateLimited,
    Secret,
    Stream,
)
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

log = logging.getLogger("leadtrail.smtp")

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
HTTPS = re.compile(r"https://[!-;=?-~]{1,900}")  # printable ASCII without < and >
ENHANCED = re.compile(rb"\s*([245]\.\d{1,3}\.\d{1,3})\b")
# Long lines: folding an address or a URL would turn it into an encoded word that no mail program follows.
POLICY = SMTP.clone(max_line_length=998, cte_type="7bit")
TIMEOUT = 60.0


@dataclass(frozen=True)
class SmtpOptions:
    host: str
    from_address: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: Secret = Secret("")  # noqa: RUF009  (immutable)
    from_name: str = ""
    bounce_address: str = ""
    ca_file: str = ""


class Smtp(Connector):
    provider: ClassVar[str] = "smtp"
    title: ClassVar[str] = "E-mail (SMTP)"
    Options: ClassVar[type] = SmtpOptions
    streams: ClassVar[tuple[Stream, ...]] = ()
    delivers: ClassVar[tuple[type, ...]] = (EmailMessage,)
    timeout: ClassVar[float] = TIMEOUT

    options: SmtpOptions

    def check(self) -> Health:
        """Sign in and leave; no mail is sent."""
        try:
            if not ADDRESS.fullmatch(self.options.from_address):
                raise ConfigError(
                    "from_address is not an e-mail address.", connection=self.connection, fix="Correct it."
                )
            with self.session() as server:
                size = int(server.esmtp_features.get("size", "").split()[0] or 0) if server.has_extn("size") else 0
        except ConnectorError as error:
            return Health(False, error.what, error.fix)
        domain = self.options.from_address.partition("@")[2]
        return Health(
            True,
            f"The mail server answers{' and takes our login' if self.options.username else ''}. SMTP cannot tell whether "
            f"{domain} allows it to send: see SPF, DKIM and DMARC of that domain.",
            details={"from": domain, "security": self.options.security, "largest_mail_bytes": size},
        )

    def deliverer(self, *, settles: timedelta = SETTLES) -> SmtpDeliverer:
        return SmtpDeliverer(self)

    @contextlib.contextmanager
    def session(self) -> Iterator[smtplib.SMTP]:
        """A connection that is ready for a mail. Raises only errors of ours; nothing has been sent when it does."""
        server: smtplib.SMTP | None = None
        try:
            server = self._connected()
            if self.options.username:
                server.login(self.options.username, self.options.password.reveal())
        except (OSError, smtplib.SMTPException) as error:
            if server:
                server.close()
            raise self._no_session(error) from None
        try:
            yield server
        finally:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                server.quit()
            server.close()

    def _connected(self) -> smtplib.SMTP:
        options = self.options
        if options.security == "none" and options.username and not _is_here(options.host):
            raise ConfigError(
                "the password would cross the network in the open (security: none).",
                connection=self.connection,
                fix="Set security to starttls (port 587) or tls (port 465).",
            )
        if options.security == "tls":
            return smtplib.SMTP_SSL(options.host, options.port, timeout=self.timeout, context=self._trust())
        server = smtplib.SMTP(options.host, options.port, timeout=self.timeout)
        if options.security == "starttls":
            try:
                server.starttls(context=self._trust())
            except BaseException:
                server.close()
                raise
        server.ehlo_or_helo_if_needed()
        return server

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.options.ca_file or None)
        except OSError as error:
            raise ConfigError(
                f"ca_file cannot be used ({type(error).__name__}).",
                connection=self.connection,
                fix="Name a readable PEM file, or leave it out.",
            ) from None

    def _no_session(self, error: Exception) -> ConnectorError:
        code = getattr(error, "smtp_code", 0)
        if isinstance(error, smtplib.SMTPAuthenticationError) and code >= 500:
            return CredentialError(
                f"the mail server refuses the username and password ({code}).",
                connection=self.connection,
                fix="Correct them (many services want an app password here), then run `leadtrail check`.",
            )
        if isinstance(error, ssl.SSLError):
            return ConfigError(
                "the mail server's certificate is not trusted, or it does not speak TLS on this port.",
                connection=self.connection,
                fix="Use port 465 with security: tls or port 587 with starttls, and the host name of its certificate; name a "
                "private authority in ca_file.",
            )
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return ConfigError(
                "the mail server offers no STARTTLS or no login.",
                connection=self.connection,
                fix="Use port 587, or security: tls with port 465.",
            )
        return ProviderDown(
            f"the mail server cannot be reached ({f'answer {code}' if code else type(error).__name__}).",
            connection=self.connection,
            fix="It is tried again; if it stays, check host and port, then run `leadtrail check`.",
        )


class SmtpDeliverer:
    def __init__(self, smtp: Smtp) -> None:
        self.smtp, self.options, self.connection = smtp, smtp.options, smtp.connection

    def prepare(self) -> Health:
        return self.smtp.check()

    def deliver(self, message: EmailMessage) -> Receipt:
        begun = self.smtp.http.clock.now()
        mail = self._composed(message, begun)
        body = re.sub(rb"(?m)^\.", b"..", mail.as_bytes(policy=POLICY))
        if not body.endswith(b"\r\n"):
            body += b"\r\n"
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
        fields = {name: str(value) for name, value in mail.items() if name in _SHOWN}
        for part in mail.walk():
            if part.get_content_maintype() == "text":
                fields[part.get_content_type()] = part.get_content()
        return Diff("smtp", "send", "e-mail", tuple(Change(name, None, value) for name, value in fields.items()))

    def message_id(self, message: EmailMessage) -> str:
        """Of the connection's own domain, so that it stays when a message's sender changes."""
        digest = sha256(f"{self.connection}:{message.key}".encode()).hexdigest()[:40]
        return f"<{digest}@{self.options.from_address.partition('@')[2]}>"

    # ---- the mail ----

    def _sender(self, message: EmailMessage) -> str:
        return message.sender or self.options.from_address

    def _composed(self, message: EmailMessage, now: datetime) -> Mail:
        name = message.sender_name or self.options.from_name
        self._must_be_right(message, name)
        mail = Mail(policy=POLICY)
        user, _, domain = self._sender(message).partition("@")
        mail["From"] = Address(name, user, domain)
        mail["To"] = message.to
        if message.reply_to:
            mail["Reply-To"] = message.reply_to
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = self.message_id(message)
        mail["Auto-Submitted"] = "auto-generated"  # else out-of-office replies would pass for answers
        if message.unsubscribe_url:
            mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        footer = [message.postal_address] if message.postal_address not in message.text else []
        if message.unsubscribe_url not in message.text:
            footer.append(f"Unsubscribe: {message.unsubscribe_url}")
        mail.set_content("\n\n".join([message.text.rstrip(), *footer]) + "\n", cte="quoted-printable")
        if message.html:
            mail.add_alternative(_with_footer(message), subtype="html", cte="quoted-printable")
        return mail

    def _must_be_right(self, message: EmailMessage, name: str) -> None:
        if not ADDRESS.fullmatch(message.to):
            raise self._refused("the recipient is not an e-mail address that can be used.", "bad_address")
        senders = [self._sender(message), *filter(None, (message.reply_to, self.options.bounce_address))]
        if not all(ADDRESS.fullmatch(one) for one in senders):
            raise self._refused("the sender or the reply address is not an e-mail address.", "sender")
        if any(sign in text for text in (name, message.subject) for sign in "\r\n\0"):
            raise self._refused("the subject or the sender's name has a line break in it.", "content")
        if message.unsubscribe_url and not HTTPS.fullmatch(message.unsubscribe_url):
            raise self._refused("the unsubscribe address is not a plain https address.", "content")
        if not message.subject.strip() or not message.text.strip():
            raise self._refused("the mail has no subject or no text.", "content")

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


_SHOWN = frozenset(
    ("From", "To", "Reply-To", "Subject", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted")
)


def _with_footer(message: EmailMessage) -> str:
    footer = ""
    if message.postal_address and html.escape(message.postal_address) not in message.html:
        lines = html.escape(message.postal_address).replace("\n", "<br>")
        footer += f"<p>{lines}</p>"
    link = html.escape(message.unsubscribe_url)
    if link and link not in message.html and message.unsubscribe_url not in message.html:
        footer += f'<p><a href="{link}">Unsubscribe</a></p>'
    head, end, tail = message.html.rpartition("</body>")
    return f"{head}{footer}{end}{tail}" if end else message.html + footer


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


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
