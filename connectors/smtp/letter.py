"""The mail itself: headers that nothing can be smuggled into, and what the law wants under the text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage as Mail
from email.policy import SMTP
from email.utils import format_datetime

from connectors.delivery import EmailMessage, Reason

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
HTTPS = re.compile(r"https://[!-;=?-~]{1,900}")  # printable ASCII without < and >
# Long lines: folding an address or a URL would turn it into an encoded word that no mail program follows.
POLICY = SMTP.clone(max_line_length=998, cte_type="7bit")


def wrong_in(message: EmailMessage, *, name: str, senders: Iterable[str]) -> tuple[str, Reason] | None:
    """Why it cannot be sent as it is, and whose problem that is."""
    if not ADDRESS.fullmatch(message.to):
        return "the recipient is not an e-mail address that can be used.", "bad_address"
    if not all(ADDRESS.fullmatch(one) for one in senders):
        return "the sender or the reply address is not an e-mail address.", "sender"
    if not message.subject.strip() or not message.text.strip():
        return "the mail has no subject or no text.", "content"
    # Python and mail programs know more line breaks than CR and LF
    if any(len(f"{text}.".splitlines()) > 1 or "\0" in text for text in (name, message.subject)):
        return "the subject or the sender's name has a line break in it.", "content"
    if message.unsubscribe_url and not HTTPS.fullmatch(message.unsubscribe_url):
        return "the unsubscribe address is not a plain https address.", "content"
    return None


def compose(message: EmailMessage, *, sender: str, name: str, message_id: str, at: datetime) -> Mail:
    mail = Mail(policy=POLICY)
    user, _, domain = sender.partition("@")
    mail["From"] = Address(name, user, domain)
    mail["To"] = message.to
    if message.reply_to:
        mail["Reply-To"] = message.reply_to
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = message_id
    mail["Auto-Submitted"] = "auto-generated"  # else out-of-office replies would pass for answers
    if message.unsubscribe_url:
        mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(_with_footer(message), cte="quoted-printable")
    if message.html:
        mail.add_alternative(_html_with_footer(message), subtype="html", cte="quoted-printable")
    return mail


def on_the_wire(mail: Mail) -> bytes:
    """As it follows DATA, but for the last dot. A line that starts with a dot gets a second one."""
    body = re.sub(rb"(?m)^\.", b"..", mail.as_bytes(policy=POLICY))
    return body if body.endswith(b"\r\n") else body + b"\r\n"


def _with_footer(message: EmailMessage) -> str:
    footer = [message.postal_address] if message.postal_address not in message.text else []
    if message.unsubscribe_url not in message.text:
        footer.append(f"Unsubscribe: {message.unsubscribe_url}")
    return "\n\n".join([message.text.rstrip(), *footer]) + "\n"


def _html_with_footer(message: EmailMessage) -> str:
    footer = ""
    if message.postal_address and html.escape(message.postal_address) not in message.html:
        lines = html.escape(message.postal_address).replace("\n", "<br>")
        footer += f"<p>{lines}</p>"
    link = html.escape(message.unsubscribe_url)
    if link and link not in message.html and message.unsubscribe_url not in message.html:
        footer += f'<p><a href="{link}">Unsubscribe</a></p>'
    head, end, tail = message.html.rpartition("</body>")
    return f"{head}{footer}{end}{tail}" if end else message.html + footer
