"""Forms on the client's own website, posted to us by the site: JSON, urlencoded or multipart, with any field names.

    POST from the site -> forms.submissions

Facts that shaped this:
- There is no standard, so there is no provider's JSON either. The payload is an object of ours: our reading of the fields on
  top, and under `fields` what was posted: a JSON body byte for byte, of other bodies an object of their text fields (a repeated
  name becomes a list, of an uploaded file only its name is kept).
- Fields are recognised by common names; `field_map` (our field -> their name, dotted inside nested JSON) wins over that.
- The same submission comes twice (double click, retry of a plug-in), the same person comes back on another day. With an event
  id, `X-Event-Id` or in the body, the id decides. Without one, equal posts in the same ten minutes of the clock share a key
  here; what crosses that border, or differs only in fields we do not read (a captcha's token), staging sees by `content_key`:
  a submission that says what another said up to ten minutes before is a repeat.
- Consent is what the form says; a form without the question says nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesParser
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import msgspec

from connectors.base import (
    Accepted,
    Answer,
    Connector,
    Health,
    Received,
    Record,
    Secret,
    SignatureError,
    Stream,
    WebhookRequest,
    body_key,
)

UNSET = Secret("")
MAX_DEPTH = 8
SIGNATURE_HEADER = "x-leadtrail-signature"
REPEAT_SECONDS = 600

# our field -> names it goes by on websites, compared without case and punctuation
KNOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "submission_id": ("submissionid", "eventid", "entryid", "submissionguid"),
    "form_id": ("formid", "formname", "form"),
    "submitted_at": ("submittedat", "createdat", "timestamp", "submissiondate"),
    "name": ("name", "fullname", "yourname", "customername", "contactname"),
    "first_name": ("firstname", "fname", "givenname"),
    "last_name": ("lastname", "lname", "surname", "familyname"),
    "phone": ("phone", "phonenumber", "yourphone", "tel", "telephone", "mobile", "cell"),
    "email": ("email", "emailaddress", "youremail", "mail"),
    "message": ("message", "yourmessage", "comments", "comment", "description", "details", "howcanwehelp"),
    "service": ("service", "servicetype", "serviceneeded"),
    "zip_code": ("zip", "zipcode", "postalcode"),
    "page_url": ("pageurl", "page", "url", "sourceurl", "landingpage"),
    "referrer": ("referrer", "referer"),
    "utm_source": ("utmsource",),
    "utm_medium": ("utmmedium",),
    "utm_campaign": ("utmcampaign",),
    "utm_term": ("utmterm",),
    "utm_content": ("utmcontent",),
    "gclid": ("gclid",),
    "gbraid": ("gbraid",),
    "wbraid": ("wbraid",),
    "msclkid": ("msclkid",),
    "fbclid": ("fbclid",),
    "ga_client_id": ("gaclientid", "clientid", "cid"),
    "consent": ("consent", "consenttotext", "smsconsent", "smsoptin", "optin", "texttome"),
    "consent_text": ("consenttext",),
}


@dataclass(frozen=True)
class FormsOptions:
    """`honeypot`: their name of the field that people do not see; filled in, it was a robot."""

    secret: Secret = UNSET
    path_token: Secret = UNSET
    field_map: Mapping[str, str] = field(default_factory=dict)
    honeypot: str = ""


class Forms(Connector):
    provider: ClassVar[str] = "forms"
    title: ClassVar[str] = "Website forms"
    Options: ClassVar[type] = FormsOptions
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("submissions", "Contact and quote forms that people filled in on the client's website.", "push"),
    )
    kept_headers: ClassVar[tuple[str, ...]] = ("content-type", "x-event-id")

    def check(self) -> Health:
        unknown = sorted(set(self.options.field_map) - set(KNOWN_NAMES))
        if unknown:
            return Health(
                False,
                f"`field_map` names fields we do not have: {', '.join(unknown)}.",
                f"Use {', '.join(KNOWN_NAMES)}.",
            )
        if not (self.options.secret or self.options.path_token):
            return Health(
                False,
                "No webhook proof is configured, so every submission is refused.",
                "Set secret (the site signs the body) or path_token (a random last part of the URL).",
            )
        return Health(True, "Waiting for the website's submissions.")

    def accept(self, request: WebhookRequest) -> Accepted:
        self._prove(request)
        try:
            posted = _parsed(request)
        except ValueError:
            return Accepted("unreadable:" + body_key(request.body), Answer(400))
        return Accepted("submission:" + _identity(request, posted, self._read(posted)), Answer(200))

    def receive(self, request: WebhookRequest) -> Received:
        try:
            posted = _parsed(request)
        except ValueError:
            return Received(quarantine=[("the body is neither a JSON object nor a form", request.body)])
        if self.options.honeypot and posted.values.get(self.options.honeypot):
            return Received(quarantine=[("the field that people do not see was filled in: a robot", request.body)])
        read = self._read(posted)
        if not any(read[ours] for ours in ("name", "first_name", "last_name", "phone", "email", "message")):
            return Received(quarantine=[("no field says who wrote or what; set field_map for this form", request.body)])
        record_id = _identity(request, posted, read)
        ours = {**read, "submission_id": _given_id(request, read), "content_key": _content_key(read)}
        payload = msgspec.json.encode({**ours, "fields": posted.fields})
        submitted_at = _instant(read["submitted_at"])
        return Received(
            records=[("submissions", Record(record_id, payload, occurred_at=submitted_at or request.received_at))]
        )

    def _prove(self, request: WebhookRequest) -> None:
        """Each proof that is configured must be right."""
        secret, token = self.options.secret, self.options.path_token
        if not (secret or token):
            raise SignatureError("no proof is configured")
        if token and not hmac.compare_digest(request.tail.strip("/").encode(), token.reveal().encode()):
            raise SignatureError("the path token is missing or wrong")
        if secret and not hmac.compare_digest(
            request.headers.get(SIGNATURE_HEADER, "").encode(), sign(secret.reveal(), request.body).encode()
        ):
            raise SignatureError("the signature is missing or wrong")

    def _read(self, posted: _Posted) -> dict[str, str | None]:
        """Our fields. The last part of a nested name is enough to recognise it."""
        plain: dict[str, str] = {}
        for name, value in posted.values.items():
            plain.setdefault(_plain(name), value)
            parent, _, last = name.rpartition(".")
            if _plain(parent.rpartition(".")[2]) not in ("form", "site"):  # a form has a name as well as its writer
                plain.setdefault(_plain(last), value)
        read: dict[str, str | None] = {}
        for ours, candidates in KNOWN_NAMES.items():
            if ours in self.options.field_map:
                read[ours] = posted.values.get(self.options.field_map[ours]) or None
            else:
                read[ours] = next((plain[name] for name in candidates if plain.get(name)), None)
        return read


def _identity(request: WebhookRequest, posted: _Posted, read: Mapping[str, str | None]) -> str:
    """The submission's own id, else everything in it, and about when."""
    window = int(request.received_at.timestamp()) // REPEAT_SECONDS
    return _given_id(request, read) or f"{_content_key(posted.values)}:{window}"


def _given_id(request: WebhookRequest, read: Mapping[str, str | None]) -> str | None:
    """A site numbers the entries of each form anew, so an id from the body counts with its form."""
    event_id, in_body = request.headers.get("x-event-id", "").strip(), read["submission_id"]
    return event_id or (f"{read['form_id']}:{in_body}" if in_body and read["form_id"] else in_body)


def sign(secret: str, body: bytes) -> str:
    """What the site puts in X-Leadtrail-Signature."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# ---- what was posted ----


@dataclass(frozen=True)
class _Posted:
    """`fields` is kept; `values` is the same, flat: dotted name -> text."""

    fields: Any
    values: Mapping[str, str]


def _parsed(request: WebhookRequest) -> _Posted:
    """Raises ValueError if the body is no form."""
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith("multipart/form-data"):
        pairs = _multipart(request.headers["content-type"], request.body)
    elif content_type.startswith("application/x-www-form-urlencoded"):
        pairs = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=1000)
    else:
        return _json(request.body)
    if not pairs:
        raise ValueError("no fields")
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = [*_listed(fields[name]), value] if name in fields else value
    return _Posted(fields, {name: _joined(value) for name, value in fields.items()})


def _json(body: bytes) -> _Posted:
    raw = body.removeprefix(b"\xef\xbb\xbf")
    try:
        fields = msgspec.json.decode(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    return _Posted(msgspec.Raw(raw), dict(_flat(fields)))


def _flat(fields: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            if depth < MAX_DEPTH:
                yield from _flat(value, f"{prefix}{name}.", depth + 1)
        elif value is not None:
            yield prefix + name, _joined(value)


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    head = b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    parts = BytesParser().parsebytes(head + body).get_payload()
    if not isinstance(parts, list):
        raise ValueError("broken multipart")
    pairs = []
    for part in parts:
        if not isinstance(part, Message):
            continue
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            pairs.append((name, part.get_filename() or content.decode(errors="replace")))
    return pairs


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _joined(value: Any) -> str:
    """One text of a field; ticked boxes come as a list."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(str(item) for item in _listed(value) if not isinstance(item, dict | list)).strip()


def _content_key(fields: Mapping[str, str | None]) -> str:
    """The same for the same words, however they are spaced or written in capitals; when they were sent does not count."""
    parts = [
        f"{name}={' '.join(value.lower().split())}"
        for name, value in sorted(fields.items())
        if value and name not in ("submission_id", "submitted_at")
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _instant(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())
