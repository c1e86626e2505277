"""How often is too often: caps on what we send by ourselves to one person.

Answers within a conversation they began, and answers to STOP and HELP, are not counted: they were asked for. Days are those of
the client's zone, since where the person is may not be known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipeline.follow_up.gate_facts import KEYWORD_REPLIES, MISSED_CALL_TEXT, ClientRules, Message, Send


def missed_call_was_answered(sends: Sequence[Send], *, now: datetime, zone: str) -> bool:
    """One text per caller and day, however often they called."""
    today = _day(now, zone)
    return any(send.kind == MISSED_CALL_TEXT and _day(send.at, zone) == today for send in sends)


def episode_is_full(message: Message, sends: Sequence[Send], rules: ClientRules) -> bool:
    if message.message_class == "conversational":
        return False
    return sum(send.episode == message.episode for send in _counted(sends)) >= rules.touches_per_episode


def free_at(message: Message, sends: Sequence[Send], rules: ClientRules, at: datetime) -> tuple[datetime, str]:
    """The first moment from `at` on that the daily caps leave free, and which of them made it later."""
    if message.message_class == "conversational":
        return at, ""
    counted = _counted(sends)
    zone, today = rules.hours.zone, _day(at, rules.hours.zone)
    texts = sum(send.channel == "sms" and _day(send.at, zone) == today for send in counted)
    after_day_0 = today > _day(message.episode_started_at, zone)
    if message.channel == "sms" and after_day_0 and texts >= rules.sms_per_day:
        tomorrow = datetime.combine(today + timedelta(days=1), time.min, ZoneInfo(zone)).astimezone(UTC)
        return tomorrow, f"they had {texts} text{'s' if texts > 1 else ''} today"
    recent = sorted(send.at for send in counted if send.at > at - timedelta(hours=24))
    if len(recent) >= rules.touches_in_24_hours:
        oldest_that_counts = recent[-rules.touches_in_24_hours]
        return oldest_that_counts + timedelta(
            hours=24
        ), f"they had {len(recent)} messages in 24 hours, over all channels"
    return at, ""


def _counted(sends: Sequence[Send]) -> list[Send]:
    return [
        send
        for send in sends
        if send.channel != "owner_task" and send.message_class != "conversational" and send.kind not in KEYWORD_REPLIES
    ]


def _day(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()
