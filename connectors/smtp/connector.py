"""E-mail through any SMTP server: the connection, and whether it works. Nothing is read here; deliver.py sends."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
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
    Secret,
    Stream,
)
from connectors.delivery import EmailMessage
from connectors.smtp.deliver import SmtpDeliverer
from connectors.smtp.letter import ADDRESS

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
            f'"{domain}" allows it to send: see SPF, DKIM and DMARC of that domain.',
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


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
