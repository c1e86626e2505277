"""How figures are written and called: one way for each, so that a text can be held against what is stored."""

from __future__ import annotations

from datetime import date, timedelta

FEW = "fewer than five"
NOT_SHOWN = "not shown"
_SYMBOLS = {"USD": "$", "CAD": "CA$", "GBP": "£", "EUR": "€", "AUD": "A$"}
_LABELS = {
    "calls": "calls",
    "missed_calls": "missed calls",
    "leads": "new leads",
    "booked_jobs": "booked jobs",
    "invoiced": "work billed",
    "revenue": "revenue",
    "response_time": "typical wait for an answer",
    "messages_sent": "messages sent for you",
    "tasks_given": "reminders to your team",
    # what is compared since joining
    "speed_to_lead_human_median": "typical wait for an answer",
    "contact_rate": "leads reached",
    "missed_call_rate": "calls missed",
    "booking_rate_raw": "callers who booked",
    "close_rate": "quotes accepted",
}
FIGURE_NAMES = frozenset(_LABELS.values())
CHANNELS = {
    "google_paid": "Google Ads",
    "google_organic": "Google search",
    "google_my_business": "Google Business Profile",
    "bing_paid": "Bing Ads",
    "bing_organic": "Bing search",
    "facebook": "Facebook",
    "instagram": "Instagram",
    "yelp": "Yelp",
    "nextdoor": "Nextdoor",
    "direct": "direct",
    "referral": "referrals",
    "thumbtack": "Thumbtack",
    "angi": "Angi",
    "other": "all others",
}


def label_of(name: str, part: str, currency: str | None) -> str:
    if name == "leads_by_channel":
        return f"leads from {CHANNELS.get(part, part.replace('_', ' '))}"
    label = _LABELS.get(name, name.replace("_", " "))
    return label if currency in (None, "USD") else f"{label} in {currency}"


def shown(value: float, unit: str, currency: str | None = None, *, leaves_out_few: bool = False) -> str:
    """A count that leaves out a few is "at least": that is certain. Of money it isn't, as what is left out may be a refund."""
    match unit:
        case "cents":
            text = _money(value, currency or "USD")
            return f"{text} without a few payments" if leaves_out_few else text
        case "seconds":
            return _duration(value)
        case "rate":
            return f"{round(value * 100)}%"
        case "points":
            points = round(value * 100)
            return f"{points} point" if points == 1 else f"{points} points"
        case _:
            return f"at least {round(value):,}" if leaves_out_few else f"{round(value):,}"


def _money(cents: float, currency: str) -> str:
    amount, sign = f"{round(abs(cents) / 100):,}", "-" if cents < 0 else ""
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{amount} {currency}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, left = divmod(minutes, 60)
    if hours >= 24:
        hours = round(minutes / 60)
        left = 0
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((hours, "hour"), (left, "minute")) if n]
    return " ".join(parts)


def days_of(start: str, end: str) -> tuple[date, date]:
    return date.fromisoformat(start), date.fromisoformat(end) - timedelta(days=1)


def period_name(kind: str, start: str, end: str) -> str:
    """October 2026; November 9 to 15, 2026; September 28 to October 4, 2026."""
    first, last = days_of(start, end)
    if kind == "month":
        return f"{first:%B} {first.year}"
    until = f"{last.day}" if last.month == first.month else f"{last:%B} {last.day}"
    return f"{first:%B} {first.day} to {until}, {last.year}"


def end_of(kind: str, start: str) -> str:
    """The day after a period's last."""
    first = date.fromisoformat(start)
    end = first + timedelta(days=7) if kind == "week" else (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return end.isoformat()


def ways_to_name(kind: str, start: str, end: str) -> set[str]:
    """What a text may call the period and its days."""
    first, last = days_of(start, end)
    days = {first + timedelta(days=n) for n in range((last - first).days + 1)}
    named = {period_name(kind, start, end), *(f"{day:%B} {day.year}" for day in (first, last))}
    for day in days:
        named |= {f"{day:%B} {day.day}", f"{day:%B} {day.day}, {day.year}"}
    return named
