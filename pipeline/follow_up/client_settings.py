"""What a client set for follow-up: `follow_up:` under the client in the clients file. What is left out has a careful default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, time, timedelta
from typing import Any

TEXTING = ("unknown", "pending", "approved", "rejected", "withdrawn")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_HOURS = re.compile(r"(\d{2}:\d{2})-(\d{2}:\d{2})")


@dataclass(frozen=True)
class FollowUpSettings:
    """`texting` is how the 10DLC registration stands: only "approved" sends. Owners left out are the client's owner."""

    business_name: str = ""  # as messages name it; the client's name if left out
    postal_address: str = ""  # without it no e-mail goes out
    texting: str = "unknown"
    office_phone: str = ""
    booking_link: str = ""
    review_link: str = ""
    lead_owner: str = ""  # of leads that nobody owns in the CRM, by the address the CRM knows
    backup_owner: str = ""
    agency_owner: str = ""
    promotional_hours: str = "08:00-20:00"  # on the recipient's clock; can only narrow the law
    holidays: tuple[str, ...] = ()  # beside those of the holidays seed: no promotional message on them
    answer_out_of_hours_minutes: int = 0  # an answer to somebody who wrote this recently may go at night
    provider_answers_keywords: bool = True  # Twilio confirms STOP and HELP itself
    texts_per_day: int = 1
    messages_in_24_hours: int = 3
    messages_per_lead: int = 7
    outputs_per_emission: int = 200  # more of one rule at once are a mistake until a person says otherwise
    high_value_cents: int = 250_000
    recording_notice_from: str = ""  # first day on which every caller hears that the call is recorded,
    recording_notice_proof: str = ""  # and where the proof of it is kept: else no transcript goes to a model

    def owner(self, role: str, *, client_owner: str, lead_owner: str = "") -> str:
        """Who that is for this client. Nobody is left without an owner."""
        named = {"lead_owner": lead_owner or self.lead_owner, "backup": self.backup_owner, "agency": self.agency_owner}
        return named.get(role, "") or client_owner

    @property
    def promotional(self) -> tuple[time, time]:
        start, end = self.promotional_hours.split("-")
        return time.fromisoformat(start), time.fromisoformat(end)

    @property
    def grace(self) -> timedelta:
        return timedelta(minutes=self.answer_out_of_hours_minutes)


def read_follow_up(written: Any) -> tuple[FollowUpSettings, list[str]]:
    """The settings, and what is wrong with them as a person wrote them."""
    if written is None:
        return FollowUpSettings(), []
    if not isinstance(written, Mapping):
        return FollowUpSettings(), ["write its settings as `name: value` lines under `follow_up:`"]
    known = {one.name: one for one in fields(FollowUpSettings)}
    mistakes = [
        f"follow_up has no setting `{odd}`; it takes {', '.join(known)}"
        for odd in map(str, written)
        if odd not in known
    ]
    given: dict[str, Any] = {}
    for name in known.keys() & written.keys():
        value = _plain(written[name])
        mistake = _mistake(name, value, known[name].default)
        if mistake:
            mistakes.append(f"follow_up.{name} {mistake}")
        else:
            given[name] = tuple(value) if isinstance(value, list) else value
    return FollowUpSettings(**given), sorted(mistakes)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


_AT_LEAST_AND_MOST = {
    "texts_per_day": (1, 10),
    "messages_in_24_hours": (1, 3),  # three is a state's law
    "messages_per_lead": (1, 50),
    "outputs_per_emission": (1, 100_000),
    "answer_out_of_hours_minutes": (0, 30),
    "high_value_cents": (1, 10**12),
}


def _mistake(name: str, value: Any, default: Any) -> str:
    """What is wrong with one value, after its name; "" if nothing is."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else f"is true or false, not {value!r}"
    if isinstance(default, int):
        least, most = _AT_LEAST_AND_MOST[name]
        right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return "" if right else f"is a whole number between {least} and {most}, not {value!r}"
    if isinstance(default, tuple):
        right = isinstance(value, list) and all(_is_day(one) for one in value)
        return "" if right else f"is a list of days like [2026-12-24], not {value!r}"
    if not isinstance(value, str):
        return f"must be text; put {value!r} in quotes if that is what you mean"
    if name == "texting" and value not in TEXTING:
        return f"is one of {', '.join(TEXTING)}, not {value!r}"
    if name.endswith("_owner") and not _ADDRESS.fullmatch(value):
        return f"is the e-mail address of a person, not {value!r}"
    if name.endswith("_link") and not value.startswith("https://"):
        return f"is a link that begins with https://, not {value!r}"
    if name == "recording_notice_from" and not _is_day(value):
        return f"is a day like 2026-02-01, not {value!r}"
    if name == "promotional_hours" and not _are_hours(value):
        return f"is written like 09:00-18:00, not {value!r}"
    return ""


def _are_hours(value: str) -> bool:
    found = _HOURS.fullmatch(value)
    try:
        return bool(found) and time.fromisoformat(found[1]) < time.fromisoformat(found[2])  # type: ignore[index]
    except ValueError:
        return False


def _is_day(text: Any) -> bool:
    try:
        date.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return True
