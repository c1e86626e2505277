"""The town's facts in CallRail's words: API objects, and the older shape that its webhooks have."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from connectors.sandbox.facts import Call, Client, FormFill, Line, TextThread
from connectors.sandbox.provider import World

Json = dict[str, Any]

# channel -> what a visitor's browser, or the absence of one, tells CallRail
SOURCES: dict[str, Json] = {
    "google_paid": {"source_name": "Google Ads", "medium": "cpc", "utm_source": "google", "site": "www.google.com"},
    "google_organic": {"source_name": "Google Organic", "medium": "organic", "site": "www.google.com"},
    "google_my_business": {"source_name": "Google Business Profile", "medium": "local", "site": "www.google.com"},
    "facebook": {"source_name": "Facebook", "medium": "social", "utm_source": "facebook", "site": "m.facebook.com"},
    "direct": {"source_name": "Direct", "medium": "direct", "site": ""},
    "referral": {"source_name": "Referral", "medium": "referral", "site": "neighbors.example"},
    "thumbtack": {"source_name": "Thumbtack", "medium": "referral", "site": "www.thumbtack.com"},
    "angi": {"source_name": "Angi", "medium": "referral", "site": "www.angi.com"},
}
TRACKER_SOURCES = {
    "google_my_business": "google_my_business",
    "facebook": "facebook_all",
    "direct": "direct",
    "truck": "offline",
}

CALL_DEFAULTS = (
    "id answered business_phone_number customer_city customer_country customer_name customer_phone_number customer_state "
    "direction duration recording recording_duration recording_player start_time tracking_phone_number voicemail agent_email"
)
FORM_EXTRAS = "lead_status value note tags utm_source utm_medium utm_campaign form_name timeline_url milestones"
TALK_EXTRAS = "lead_status source"


def national(phone: str) -> str | None:
    """+14045550123 -> 404-555-0123."""
    return f"{phone[2:5]}-{phone[5:8]}-{phone[8:]}" if len(phone) == 12 else None


def zulu(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


class Account:
    """One client's CallRail account: its ids, and how its facts are told."""

    def __init__(self, client: Client, world: World, root: str) -> None:
        self.client, self.world, self.root = client, world, root
        self.zone = ZoneInfo(client.timezone)

    # ---- ids: the same at every start of a sandbox with this seed ----

    @cached_property
    def id(self) -> str:
        return "ACC" + self.world.secret("callrail", "account", self.client.n)

    @cached_property
    def company_id(self) -> str:
        return "COM" + self.world.secret("callrail", "company", self.client.n)

    @cached_property
    def api_key(self) -> str:
        return self.world.secret("callrail", "api_key", self.client.n)

    @cached_property
    def signing_key(self) -> str:
        return self.world.secret("callrail", "signing_key", self.client.n)

    def record_id(self, stream: str, n: int) -> str:
        digest = self.world.secret("callrail", stream, n)
        if stream == "text_messages":  # conversation ids are short, of mixed case and without a prefix
            return base64.b64encode(bytes.fromhex(digest)[:9], b"Kz").decode()
        return {"calls": "CAL", "form_submissions": "FOR", "trackers": "TRK", "messages": "SCI"}[stream] + digest

    def person_id(self, phone: str) -> str | None:
        return "PER" + self.world.secret("callrail", "person", self.client.n, phone) if phone else None

    def local(self, at: datetime) -> str:
        return at.astimezone(self.zone).isoformat(timespec="milliseconds")

    # ---- objects ----

    def company(self, *, active: bool) -> Json:
        joined = zulu(self.client.lines[0].created_at if self.client.lines else self.client.joined_at)
        return {
            "id": self.company_id,
            "name": self.client.name,
            "status": "active" if active else "disabled",
            "time_zone": self.client.timezone,
            "created_at": joined,
            "disabled_at": None if active else zulu(self.world.now()),
            "dni_active": True,
            "script_url": f"//cdn.callrail.com/companies/{self.client.n}/swap.js",
            "callscribe_enabled": False,
            "lead_scoring_enabled": True,
            "swap_exclude_jquery": None,
            "swap_ppc_override": None,
            "swap_landing_override": None,
            "swap_cookie_duration": 6,
            "callscore_enabled": False,
            "keyword_spotting_enabled": False,
            "form_capture": True,
        }

    def tracker(self, line: Line) -> Json:
        flow = {"type": "basic", "recording_enabled": True, "destination_number": self.client.office_phone}
        return {
            "id": self.record_id("trackers", line.n),
            "name": line.name,
            "type": "source",
            "status": "active",
            "destination_number": self.client.office_phone,
            "tracking_numbers": [line.phone],
            "sms_supported": True,
            "sms_enabled": True,
            "company": {"id": self.company_id, "name": self.client.name},
            "source": {"type": TRACKER_SOURCES.get(line.channel, "all")},
            "call_flow": flow,
            "created_at": zulu(line.created_at),
            "disabled_at": None,
        }

    def user(self, n: int) -> Json:
        staff = self.client.staff[n]
        return {
            "id": "USR" + self.world.secret("callrail", "user", staff.n),
            "email": staff.email,
            "first_name": staff.given,
            "last_name": staff.family,
            "name": f"{staff.given} {staff.family}",
            "role": "admin" if staff.role == "owner" else "reporting",
            "accepted": True,
            "created_at": zulu(self.client.joined_at),
            "companies": [{"id": self.company_id, "name": self.client.name}],
        }

    def call(self, fact: Call, total: int) -> Json:
        call_id, recorded = self.record_id("calls", fact.n), fact.answered or fact.voicemail
        name, phone = fact.caller_name or None, fact.phone or None
        value = None if fact.value_cents is None else f"{fact.value_cents / 100:.2f}".removesuffix("0")
        kind = "voicemail" if fact.voicemail else "missed" if not fact.answered else "answered"
        first = fact.direction == "inbound" and fact.prior_calls == 0
        kind = "outbound" if fact.direction == "outbound" else "first_call" if first and fact.answered else kind
        good = fact.lead_status == "good_lead"
        return {
            "id": call_id,
            "answered": fact.answered,
            "business_phone_number": self.client.office_phone,
            "customer_city": self.client.city,
            "customer_country": "US",
            "customer_name": name,
            "customer_phone_number": phone,
            "customer_state": self.client.state,
            "direction": fact.direction,
            "duration": fact.seconds,
            "recording": f"{self.root}/v3/a/{self.id}/calls/{call_id}/recording.json" if recorded else None,
            "recording_duration": str(max(1, fact.seconds - 5)) if recorded else None,
            "recording_player": f"https://app.callrail.com/calls/{call_id}/recording?access_key=x"
            if recorded
            else None,
            "start_time": self.local(fact.at),
            "tracking_phone_number": fact.line.phone,
            "voicemail": fact.voicemail,
            "agent_email": fact.staff_email or None,
            "call_type": kind,
            "company_id": self.company_id,
            "company_name": self.client.name,
            "company_time_zone": self.client.timezone,
            "created_at": self.local(fact.at + timedelta(milliseconds=12)),
            "device_type": "Mobile" if fact.line.channel != "truck" else None,
            "first_call": first,
            "prior_calls": fact.prior_calls,
            "total_calls": total,
            "good_lead_call_id": call_id if good else None,
            "good_lead_call_time": self.local(fact.at) if good else None,
            "lead_status": fact.lead_status or None,
            "value": value,
            "note": fact.note or None,
            "tags": list(fact.tags),
            **self.touch(fact.line.channel, fact.service, fact.n, fact.at),
            "tracker_id": self.record_id("trackers", fact.line.n),
            "person_id": self.person_id(fact.phone),
            "zip_code": self.client.zip_codes[0] if self.client.zip_codes else None,
            "session_uuid": None,
            "timeline_url": f"https://app.callrail.com/timeline/{call_id}",
            "keywords_spotted": [],
            "call_highlights": [],
            "speaker_percent": {"agent": "55", "customer": "45"} if fact.answered else None,
            "waveforms": [f"https://app.callrail.com/waveforms/{call_id}.{n}.png" for n in (1, 2)] if recorded else [],
            "keypad_entries": [],
            "transcription": None,
            "call_summary": None,
            "sentiment": None,
            "formatted_call_type": kind.replace("_", " ").title(),
            "formatted_customer_location": f"{self.client.city}, {self.client.state}",
            "formatted_business_phone_number": national(self.client.office_phone),
            "formatted_customer_name": name,
            "formatted_customer_name_or_phone_number": name or national(fact.phone),
            "formatted_customer_phone_number": national(fact.phone),
            "formatted_tracking_phone_number": national(fact.line.phone),
            "formatted_duration": clock(fact.seconds),
            "formatted_tracking_source": fact.line.name,
            "formatted_value": "--" if fact.value_cents is None else f"${fact.value_cents / 100:,.2f}",
        }

    def touch(self, channel: str, service: str, n: int, at: datetime) -> Json:
        """The fields of a visit; a number on a van has none."""
        names = (
            "source source_name medium campaign keywords referrer_domain referring_url landing_page_url last_requested_url "
            "utm_source utm_medium utm_term utm_content utm_campaign utma utmb utmc utmv utmz ga gclid fbclid msclkid milestones"
        )
        visit: Json = dict.fromkeys(names.split())
        if channel not in SOURCES:
            return {**visit, "source": "offline", "source_name": channel.replace("_", " ").title(), "medium": "offline"}
        known, page = SOURCES[channel], f"https://{self.client.domain}/"
        paid = channel == "google_paid"
        click = self.world.secret("click", n)[:20]
        service = service or self.client.trade
        campaign = f"{service.split()[0]}-{self.client.area_code}" if paid else None
        landing = page + {"google_paid": f"?gclid={click}", "facebook": f"?fbclid={click}"}.get(channel, "")
        visit |= {
            "source": channel,
            "source_name": known["source_name"],
            "medium": known["medium"],
            "campaign": campaign,
            "keywords": f"{service.lower()} near me" if paid else None,
            "referrer_domain": known["site"] or None,
            "referring_url": f"https://{known['site']}/" if known["site"] else None,
            "landing_page_url": landing,
            "last_requested_url": page + "contact",
            "utm_source": known.get("utm_source"),
            "utm_medium": known["medium"] if "utm_source" in known else None,
            "utm_campaign": campaign,
            "gclid": click if paid else None,
            "fbclid": click if channel == "facebook" else None,
        }
        first = {key: visit[key] for key in ("campaign", "keywords", "medium")}
        first |= {"event_date": self.local(at - timedelta(minutes=7)), "landing": page, "source": known["source_name"]}
        first |= {
            "referrer": known["site"] or None,
            "device": "mobile",
            "session_browser": "Safari",
            "ad_position": None,
        }
        first |= {"landing_page_url_params": {}, "referrer_url_params": {}, "url_utm_params": {}, "match_type": None}
        visit["milestones"] = {"first_touch": first, "lead_created": {}, "qualified": None, "last_touch": None}
        return visit

    def form(self, fact: FormFill) -> Json:
        digits = "".join(c for c in fact.phone if c.isdigit())[-10:]
        phone = f"+1{digits}" if len(digits) == 10 else ""
        touch = self.touch(fact.channel, fact.service, fact.n, fact.at)
        wide = ("source", "keywords", "campaign", "medium", "utm_source", "utm_medium", "utm_campaign", "milestones")
        return {
            "id": self.record_id("form_submissions", fact.n),
            "company_id": self.company_id,
            "person_id": self.person_id(phone) or "anonymous",
            "form_data": self._typed(fact),
            "form_url": f"https://{self.client.domain}{fact.page}",
            "landing_page_url": touch["landing_page_url"],
            "referrer": touch["referrer_domain"] or "direct",
            "referring_url": touch["referring_url"],
            "submitted_at": zulu(fact.at),
            "first_form": True,
            "customer_phone_number": phone or None,
            "customer_name": fact.name or None,
            "formatted_customer_phone_number": national(phone),
            "formatted_customer_name": fact.name or None,
            "lead_status": None,
            "value": None,
            "note": None,
            "tags": [],
            "form_name": "Request service",
            "timeline_url": f"https://app.callrail.com/timeline/{fact.n}",
            **{key: touch[key] for key in wide},
        }

    def _typed(self, fact: FormFill) -> Json:
        """Every site names its inputs as it likes; half of the towns' sites look like each of these."""
        labels = ("name", "email", "phone", "message", "service", "sms_consent")
        if self.client.n % 2:
            labels = ("Your Name", "Your Email", "Your Phone", "How can we help?", "Service", "Text me updates")
        values = (
            fact.name,
            fact.email,
            fact.phone,
            fact.message,
            fact.service,
            "yes" if fact.consent_to_text else "no",
        )
        return dict(zip(labels, values, strict=True))

    def conversation(self, fact: TextThread, *, whole: bool) -> Json:
        """In a list: the recent messages, newest first. By itself: the whole thread."""
        tracker, zone = self.record_id("trackers", fact.line.n), self.client.timezone
        messages = [
            {"direction": direction, "content": text, "created_at": zulu(at), "type": "sms", "media_urls": []}
            for at, direction, text in reversed(fact.messages)
        ]
        name, phone = fact.name or None, national(fact.phone)
        known = SOURCES.get(fact.line.channel, {"source_name": "Offline"})
        return {
            "id": self.record_id("text_messages", fact.n),
            "company_id": self.company_id,
            "initial_tracker_id": tracker,
            "current_tracker_id": tracker,
            "customer_name": name,
            "customer_phone_number": fact.phone,
            "initial_tracking_number": fact.line.phone,
            "current_tracking_number": fact.line.phone,
            "last_message_at": zulu(fact.messages[-1][0] if fact.messages else fact.at),
            "state": "active",
            "company_time_zone": zone,
            "formatted_customer_phone_number": phone,
            "formatted_initial_tracking_number": national(fact.line.phone),
            "formatted_current_tracking_number": national(fact.line.phone),
            "formatted_customer_name": name or phone,
            "tracker_name": fact.line.name,
            "company_name": self.client.name,
            "lead_status": None,
            "source": known["source_name"],
            "recent_messages": messages if whole else messages[:2],
        }

    # ---- webhooks ----

    def call_event(self, call: Mapping[str, Any], n: int) -> Json:
        """A call as webhooks tell it: numbers as text, "" for nothing, old names next to new ones."""
        told = {
            key: "" if value is None else value for key, value in call.items() if key not in ("waveforms", "milestones")
        }
        at = datetime.fromisoformat(call["start_time"])
        return {
            **told,
            "resource_id": call["id"],
            "id": n,
            "company_resource_id": call["company_id"],
            "company_id": self.client.n,
            "tracker_resource_id": call["tracker_id"],
            "tracker_id": n,
            "person_resource_id": told["person_id"],
            "person_id": n,
            "duration": str(call["duration"]),
            "recording_duration": int(call["recording_duration"] or 0),
            "callercity": told["customer_city"],
            "callercountry": told["customer_country"],
            "callername": told["customer_name"],
            "callernum": told["customer_phone_number"],
            "callerstate": told["customer_state"],
            "callsource": told["source"],
            "datetime": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "destinationnum": told["business_phone_number"],
            "trackingnum": told["tracking_phone_number"],
            "landingpage": told["landing_page_url"],
            "referrer": told["referrer_domain"],
            "referrermedium": told["medium"],
            "integration_data": [{"integration": "Webhooks", "data": None}],
            "timestamp": call["start_time"],
        }

    def text_event(self, fact: TextThread, position: int) -> Json:
        at, direction, text = fact.messages[position]
        ours, theirs = fact.line.phone, fact.phone
        incoming = direction == "incoming"
        conversation = self.record_id("text_messages", fact.n)
        return {
            "id": fact.n * 100 + position,
            "resource_id": self.record_id("messages", fact.n * 100 + position),
            "source_number": theirs if incoming else ours,
            "destination_number": ours if incoming else theirs,
            "content": text,
            "message_type": "sms",
            "media_urls": [],
            "timestamp": zulu(at),
            "lead_status": "",
            "conversation_id": conversation,
            "thread_resource_id": "SMT" + self.world.secret("callrail", "thread", fact.n),
            "company_resource_id": self.company_id,
            "person_resource_id": self.person_id(fact.phone),
            **({} if incoming else {"agent": self.client.staff[0].email if self.client.staff else ""}),
        }

    def form_event(self, form: Mapping[str, Any]) -> Json:
        return {**form, "resource_id": form["id"], "company_resource_id": self.company_id}
