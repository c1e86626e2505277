"""How the desk writes times, money and codes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

SYMBOLS = {"USD": "$", "CAD": "CA$", "GBP": "£", "EUR": "€"}
NONE = "–"

# which colour a state has; its name always stands beside it
TONES = {
    "good": ("ok", "delivered", "enabled", "approved", "published", "complete", "sent", "won", "completed", "paid", "passed"),
    "care": (
        "held", "retrying", "unknown", "paused", "deferred", "in_review", "in_re_review", "late", "draft", "replayed", "due",
        "warn", "waiting", "never_synced", "clearable", "leased", "pending",
    ),
    "bad": ("failed", "failing", "needs_person", "blocked", "revoked", "problem", "open", "urgent", "lost"),
}  # fmt: skip
_TONE = {state: tone for tone, states in TONES.items() for state in states}


def plain(code: str | None) -> str:
    """`call_missed` -> `call missed`."""
    return (code or "").replace("_", " ") or NONE


def headline(code: str) -> str:
    """`crm_deal_opened` -> `CRM deal opened`."""
    return plain(code).capitalize().replace("Crm", "CRM")


def pill(state: str | None, said: str = "") -> Markup:
    tone = _TONE.get(state or "", "calm")
    return Markup('<span class="pill {}">{}</span>').format(tone, said or plain(state))


def moment(at: str | datetime | None, zone: str = "UTC") -> Markup:
    """`21 Nov 2026, 14:15 CST`, with the exact time for machines."""
    if not at:
        return escape(NONE)
    when = _read(at)
    local = when.astimezone(ZoneInfo(zone))
    said = f"{local.day} {local:%b %Y, %H:%M} {local.tzname()}"
    return Markup('<time datetime="{}">{}</time>').format(when.isoformat(timespec="seconds"), said)


def day(at: str | datetime | date | None, zone: str = "UTC") -> str:
    if not at:
        return NONE
    if isinstance(at, str) and len(at) == 10:
        at = date.fromisoformat(at)
    if isinstance(at, str | datetime):
        at = _read(at).astimezone(ZoneInfo(zone)).date()
    return f"{at.day} {at:%b %Y}"


def month(at: date) -> str:
    return f"{at:%b %Y}"


def ago(at: str | datetime | None, now: datetime) -> Markup:
    """`3 h ago`, `in 12 min`."""
    if not at:
        return escape(NONE)
    when = _read(at)
    length = span(abs((now - when).total_seconds()))
    said = "now" if length == "0 s" else f"{length} ago" if when <= now else f"in {length}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), f"{when:%d %b %Y %H:%M} UTC", said
    )


def span(seconds: float | timedelta | None) -> str:
    """The two largest units of a length of time."""
    if seconds is None:
        return NONE
    left = int(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    if left >= 10 * 86400:
        return f"{left // 86400} days"
    parts = []
    for name, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= length or (name == "s" and not parts):
            parts.append(f"{left // length} {name}")
            left %= length
        elif parts:
            break
        if len(parts) == 2 or (parts and name == "min"):
            break
    return " ".join(parts)


def money(cents: int | None, currency: str | None = "USD") -> str:
    if cents is None:
        return NONE
    symbol = SYMBOLS.get(currency or "USD", f"{currency} ")
    return f"{'−' if cents < 0 else ''}{symbol}{abs(cents) / 100:,.2f}"


def count(number: float | None) -> str:
    return NONE if number is None else f"{number:,.0f}"


def rate(share: float | None) -> str:
    return NONE if share is None else f"{share * 100:.1f} %"


def valued(value: float | None, unit: str) -> str:
    """A metric in its unit."""
    if value is None or value != value:
        return NONE
    shown = {"rate": rate, "seconds": span, "cents": lambda cents: money(int(cents))}.get(unit, count)
    return str(shown(value))


def pretty(text: str | bytes) -> str:
    """JSON as people read it; anything else as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def lines(text: str | None) -> Markup:
    return Markup("<br>").join(escape(line) for line in (text or "").splitlines())


def _read(at: str | datetime) -> datetime:
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def query(kept: dict[str, Any]) -> str:
    """The query of an address, without what is empty."""
    return urlencode({name: value for name, value in kept.items() if value})


# what a page says after something was done on it
DONE = {
    "taken-up": "It is yours now: nobody is asked about it any more.",
    "resolved": "Noted.",
    "rolled-back": "Taken back, except for what people changed since. The list below says what.",
    "opt-out": "Noted.",
    "handoff-planned": "Planned. It goes with the next delivery; until it has gone it is listed as pending.",
    "hold-opened": "It is on hold. Only a person ends it.",
    "hold-stood": "That is on hold already, for what stands below.",
    "account-added": "Added.",
    "account-disabled": "Disabled, and signed out everywhere.",
    "password-set": "The password is set. Whoever was signed in with the old one is signed out.",
    "hold-cleared": "The hold has ended. What is still true is judged again in turn.",
    "incident-resolved": "Resolved.",
    "rule-enable": "Enabled. The next build takes it in.",
    "rule-pause": "Paused. What is too late when it is resumed is not sent.",
    "rule-resume": "It goes on.",
    "rule-retire": "Retired. Leads in flight finish.",
    "rule-rollback": "Rolled back. The next build takes it in.",
    "replayed": "Replayed. What it showed is below.",
    "template-approve": "Approved. Rules take it up when they are next enabled or resumed.",
    "template-withdraw": "Withdrawn. What carries these words is not sent.",
    "summary-approve": "Approved. It can be undone until it is published.",
    "summary-reject": "Rejected.",
    "summary-edit": "Saved as a new version. Somebody else approves it.",
    "summary-comment": "Said.",
    "summary-clear": "Cleared.",
    "summary-undo": "The approval is undone.",
    "summary-revoke": "Revoked. Clients see that it was withdrawn, and why.",
    "summary-roll-back": "The earlier one stands again.",
}

SHOWN: dict[str, Any] = {
    "DONE": DONE,
    **{
        one.__name__: one
        for one in (
            plain,
            headline,
            pill,
            moment,
            day,
            month,
            ago,
            span,
            money,
            count,
            rate,
            valued,
            pretty,
            lines,
            query,
        )
    },
}
