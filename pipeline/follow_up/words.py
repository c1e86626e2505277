"""The words a template is given: what is known of a lead, a client and a step, as people say it."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pipeline.clients import ClientConfig
from pipeline.follow_up.published import NOBODY, Contact, Step

OPT_OUT = "Reply STOP to opt out."


def words_for(
    step: Step,
    contact: Contact | None,
    client: ClientConfig,
    *,
    owner: str,
    opt_out: str,
    unsubscribe_link: str,
    desk_url: str,
    now: datetime,
) -> dict[str, str]:
    """Every word of template_file.WORDS that has something to say here; the others are empty."""
    settings, who = client.follow_up, contact or NOBODY
    return {
        "given_name": who.given_name or "",
        "business": settings.business_name or client.name,
        "service": who.service or "",
        "office_phone": settings.office_phone,
        "owner_name": owner,
        "booking_link": settings.booking_link,
        "review_link": settings.review_link,
        "opt_out": opt_out,
        "unsubscribe_link": unsubscribe_link,
        "postal_address": settings.postal_address,
        "amount": money(who.amount_cents, who.currency),
        "visit_day": f"{step.visit_on:%A, %B} {step.visit_on.day}" if step.visit_on else "",
        "visit_time": clock_time(step.visit_at.astimezone(ZoneInfo(client.timezone))) if step.visit_at else "",
        "valid_until": f"{who.quote_valid_until:%B} {who.quote_valid_until.day}" if who.quote_valid_until else "",
        "channel": (who.channel or "").replace("_", " "),
        "waiting": waited(now - step.triggered_at),
        "what_happened": step.why,
        "timeline_link": timeline_link(step, desk_url),
    }


def timeline_link(step: Step, desk_url: str) -> str:
    """Where people of ours see the lead; its id where no address is set under which they reach the desk."""
    if not step.lead_id:
        return ""
    return f"{desk_url}/leads/{step.client_id}/{step.lead_id}" if desk_url else f"Lead {step.lead_id}"


def clock_time(at: datetime) -> str:
    """8:30 AM, as people in the US write it."""
    return f"{at:%I:%M %p}".removeprefix("0")


def money(cents: int | None, currency: str | None) -> str:
    if cents is None:
        return ""
    amount = f"{cents / 100:,.2f}".removesuffix(".00")
    return f"${amount}" if (currency or "USD") == "USD" else f"{amount} {currency}"


def waited(time: timedelta) -> str:
    """ "12 minutes", "3 hours", "2 days": the largest unit that says at least two of it, or one."""
    seconds = max(0, int(time.total_seconds()))
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size or (unit == "minute" and seconds >= size):
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"
