"""The mail with the link that signs a client in, through the agency's own mail server."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from connectors.base import ConfigError, ConnectorError, Secret
from connectors.delivery import EmailMessage
from connectors.http import Http
from connectors.smtp.connector import Smtp, SmtpOptions
from pipeline.desk.portal.app import SendLink
from pipeline.settings import Settings

log = logging.getLogger("leadtrail.portal")

WHERE = "the portal's mail"
SECURITY = ("starttls", "tls", "none")


def link_mailer(settings: Settings, portal_url: str) -> SendLink | None:
    """What sends links, or None if no mail server is set. Raises ConfigError."""
    of = settings.portal_mail
    if not of["host"]:
        return None
    security = of["security"] or "starttls"
    if security not in SECURITY or not (of["port"] or "587").isdecimal() or not of["from"]:
        raise ConfigError(
            "the mail server for links is not set up completely.",
            connection=WHERE,
            fix="Set LEADTRAIL_PORTAL_MAIL_FROM to an e-mail address, LEADTRAIL_PORTAL_MAIL_PORT to a number and "
            f"LEADTRAIL_PORTAL_MAIL_SECURITY to one of {', '.join(SECURITY)}.",
        )
    options = SmtpOptions(
        host=of["host"],
        port=int(of["port"] or 587),
        security=security,  # type: ignore[arg-type]
        username=of["username"],
        password=Secret(of["password"]),
        from_address=of["from"],
    )
    deliverer = Smtp(options, connection=WHERE, http=Http()).deliverer()
    # one at a time, behind the answer: how long a mail takes tells nobody whether there is such an account
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="portal-mail")

    def deliver(message: EmailMessage) -> None:
        try:
            deliverer.deliver(message)
        except ConnectorError as problem:
            log.error("a link could not be sent: %s %s", problem.what, problem.fix)

    def send(address: str, name: str, path: str) -> None:
        text = (
            f"Hello {name},\n\nhere is your link to your summaries:\n\n{portal_url}{path}\n\n"
            "It works once, for twenty minutes. If you did not ask for it, you need not do anything.\n"
        )
        key = "portal-link:" + sha256(path.encode()).hexdigest()[:24]
        worker.submit(deliver, EmailMessage(key, address, "Your link to your summaries", text))

    return send
