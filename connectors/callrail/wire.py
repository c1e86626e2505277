"""CallRail's wire shapes: which fields we ask for, its lists, and what must be known of a record before it is stored."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.base import ConnectorError, CredentialError, Record
from connectors.http import Account, Response, Wait

# Everything CallRail gives on request, but for copies made for display (`formatted_*`) and pictures (`waveforms`).
# A changed list makes the next run read everything again.
FIELDS = {
    "calls": "call_type,created_at,company_time_zone,device_type,first_call,company_id,company_name,tracker_id,prior_calls,"
    "total_calls,good_lead_call_id,good_lead_call_time,lead_status,value,note,tags,source,source_name,medium,campaign,keywords,"
    "referrer_domain,referring_url,landing_page_url,last_requested_url,utm_source,utm_medium,utm_term,utm_content,utm_campaign,"
    "utma,utmb,utmc,utmv,utmz,ga,gclid,fbclid,msclkid,session_uuid,timeline_url,milestones,keywords_spotted,call_highlights,"
    "speaker_percent,transcription,call_summary,sentiment,agent_email,keypad_entries,person_id,zip_code",
    "form_submissions": "lead_status,value,note,tags,utm_source,utm_medium,utm_campaign,form_name,timeline_url,milestones",
    "text_messages": "lead_status,source",
}
PATHS = {"text_messages": "text-messages"}
OCCURRED = {"calls": "start_time", "form_submissions": "submitted_at", "text_messages": "last_message_at"}


class List(msgspec.Struct):
    """Both paging shapes: offset lists have totals (some omit them), relative ones a link."""

    total_pages: int | None = None
    has_next_page: bool | None = None
    next_page: str | None = None


LISTS: dict[str, Any] = {
    stream: msgspec.defstruct(
        f"{stream}_list", [("items", list[msgspec.Raw], msgspec.field(name=key))], bases=(List,), kw_only=True
    )
    for stream, key in (
        ("companies", "companies"),
        ("trackers", "trackers"),
        ("calls", "calls"),
        ("form_submissions", "form_submissions"),
        ("text_messages", "conversations"),
    )
}


class Reference(msgspec.Struct):
    id: str | int | None = None


class Head(msgspec.Struct):
    """What we must know of any record before it is stored."""

    id: str | int | None = None
    company_id: str | int | None = None
    company: Reference | None = None
    status: str | None = None
    state: str | None = None
    customer_name: str | None = None
    lead_status: str | None = None
    current_tracker_id: str | int | None = None
    created_at: datetime | None = None
    start_time: datetime | None = None
    submitted_at: datetime | None = None
    last_message_at: datetime | None = None


_heads = msgspec.json.Decoder(Head)


def read_head(raw: msgspec.Raw) -> Head:
    """A record that breaks a type is still kept: by its id if it has one, else by its content. Staging says what is wrong."""
    try:
        head = _heads.decode(raw)
    except msgspec.ValidationError:
        value = msgspec.json.decode(raw)
        value = value if isinstance(value, dict) else {}
        head = Head(
            id=value["id"] if isinstance(value.get("id"), (str, int)) else None,
            company_id=value["company_id"] if isinstance(value.get("company_id"), (str, int)) else None,
        )
    if head.id is None or head.id == "":
        head.id = "sha256:" + hashlib.sha256(raw).hexdigest()[:32]
    return head


def as_record(stream: str, raw: msgspec.Raw, head: Head) -> Record:
    occurred: datetime | None = getattr(head, OCCURRED.get(stream, "created_at"))
    return Record(str(head.id), raw, occurred.astimezone(UTC) if occurred and occurred.tzinfo else None)


class NoAccess(CredentialError):
    """The key is good, but not for this company or record."""


class Api(Account):
    def judge(self, response: Response) -> Wait | ConnectorError | None:
        if response.status == 403:
            return NoAccess(
                "the API key's user may not read this (403).",
                connection=self.connection,
                fix="Give that user access to the company in CallRail, then run `leadtrail check`.",
            )
        return super().judge(response)


def conversation_mark(head: Head) -> str:
    """Changes when the thread or what is said about it changes. Not a hash of all of it: links to pictures expire and are new
    in every answer."""
    parts = (head.last_message_at, head.state, head.customer_name, head.lead_status, head.current_tracker_id)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
