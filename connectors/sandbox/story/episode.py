"""One episode from first touch to last dollar: it decides what happens, and has each book write down its part."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors.sandbox.facts import CHANNELS, Episode, Person
from connectors.sandbox.story import books, crm, marketplaces, messages, touches
from connectors.sandbox.story.diary import Case, Diary
from connectors.sandbox.story.trades import CHANNEL_SHARES, TOUCH_SHARES, Service
from connectors.sandbox.story.words import CONFIRMED, QUOTE_REMINDER, REMINDER, REVIEW_ASK

UNREACHED = "never reached"
UNFIT = ("out of area", "not our service")
DECLINED = ("price", "hired someone else", "no response", "changed mind", "price")
TOUCHES = ("call", "form", "text")


def tell(diary: Diary, person: Person, at: datetime, service: Service, urgency: str, *, returning: bool) -> Episode:
    channel = _channel(diary, returning=returning)
    n = diary.n("episode")
    episode = Episode(n, f"E{n}", diary.client.client_id, person.person_id, channel, service.name, urgency, at)
    diary.town.episodes.append(episode)
    case = Case(person, episode, service, price_cents=_price(diary, service))
    diary.case_calls, diary.latest = [], at
    touch = diary.rng.choices(TOUCHES, TOUCH_SHARES[channel])[0] if channel in TOUCH_SHARES else channel
    case.contacted_at = _first_touch(diary, case, at, touch)
    _decide(diary, case)
    if case.contacted_at and diary.chance(0.2):
        _second_touch(diary, case)
    touches.mark_calls(diary)
    touches.mark_outcome(diary, case)
    _reminders(diary, case)
    crm.enter(diary, case, touch)
    ledger = books.write(diary, case)
    marketplaces.review(diary, case)
    _conclude(diary, case, ledger)
    return episode


def _first_touch(diary: Diary, case: Case, at: datetime, touch: str) -> datetime | None:
    if touch == "thumbtack":
        return marketplaces.by_thumbtack(diary, case, at)
    if touch == "angi":
        return marketplaces.by_angi(diary, case, at)
    way = {"call": touches.by_phone, "form": touches.by_form, "text": touches.by_text}[touch]
    return way(diary, case, at, case.episode.channel)


def _decide(diary: Diary, case: Case) -> None:
    """What becomes of it. The times may lie beyond the end of the town: then it has not happened yet."""
    episode, talked = case.episode, case.contacted_at
    if talked is None:
        case.lost_at, episode.lost_reason = diary.days_later(diary.latest, 3, 20), UNREACHED
    elif diary.chance(0.08):
        case.lost_at, episode.lost_reason = diary.later(talked, 1, 60), diary.pick(UNFIT)
    elif case.service.quoted:
        visit = diary.days_later(talked, 0.15, 1.5 if episode.urgency != "planned" else 5)
        case.quoted_at = diary.in_hours(diary.days_later(visit, 0.05, 2.5))
        if diary.chance(diary.closes * 0.78):
            case.booked_at = diary.in_hours(diary.days_later(case.quoted_at, 0.1, 14))
        else:
            case.lost_at, episode.lost_reason = diary.days_later(case.quoted_at, 2, 32), diary.pick(DECLINED)
    elif diary.chance(diary.closes + 0.1):
        case.booked_at = diary.later(talked, 1, 90) if diary.chance(0.8) else diary.days_later(talked, 0.3, 3)
    else:
        case.lost_at, episode.lost_reason = diary.days_later(talked, 0.05, 6), diary.pick(DECLINED)
    if case.booked_at:
        case.done_at = _job_done(diary, case, case.booked_at)
        case.complaint = diary.chance(0.05)


def _job_done(diary: Diary, case: Case, booked: datetime) -> datetime:
    if case.episode.urgency == "emergency" and not case.service.quoted:
        return diary.later(booked, 90, 600)
    low, high = (3, 24) if case.service.quoted else (0.3, 5) if case.episode.urgency == "soon" else (2, 18)
    return diary.in_hours(diary.days_later(booked, low, high))


def _second_touch(diary: Diary, case: Case) -> None:
    """They get in touch again by another way while it is still open: to ask, to add something, to hurry."""
    closes = case.done_at or case.lost_at or diary.end
    at = diary.awake(diary.days_later(case.episode.opened_at, 0.02, 4))
    if at >= closes:
        return
    channel = diary.pick(("direct", "google_my_business", "google_organic", "direct"))
    draw = diary.rng.random()
    if draw < 0.55:
        touches.call(diary, case, at, channel)
    elif draw < 0.85:
        touches.fill_form(diary, case, at, channel)
    else:
        touches.by_text(diary, case, at, channel)


def _reminders(diary: Diary, case: Case) -> None:
    """The texts that run by themselves once a client has joined."""
    phone, firm = messages.textable(diary, case), diary.client
    service = case.service.name.lower()
    if case.quoted_at and diary.joined(case.quoted_at) and diary.chance(0.5):
        at, decided = diary.in_hours(diary.days_later(case.quoted_at, 1, 1.4)), case.booked_at or case.lost_at
        if decided is None or at < decided:
            text = QUOTE_REMINDER.format(given=case.person.given, service=service, business=firm.name)
            messages.send(diary, case, at, phone, text)
    if case.booked_at is None or case.done_at is None or not diary.joined(case.booked_at) or not diary.chance(0.6):
        return
    body = CONFIRMED.format(
        business=firm.name, service=service, day=diary.local_day(case.done_at), office=firm.office_phone
    )
    sent = messages.send(diary, case, diary.later(case.booked_at, 1, 10), phone, body)
    if sent.error_code is None and diary.chance(0.3):
        messages.receive(
            diary, case, diary.later(sent.at, 1, 300), phone, diary.pick(("C", "c", "Yes", "Confirmed 👍"))
        )
    if case.done_at - case.booked_at > timedelta(days=2):
        body = REMINDER.format(business=firm.name, service=service)
        messages.send(diary, case, case.done_at - timedelta(hours=24), phone, body)
    if diary.chance(0.5):
        asked = diary.in_hours(diary.days_later(case.done_at, 1, 1.3))
        sent = messages.send(diary, case, asked, phone, REVIEW_ASK.format(business=firm.name, domain=firm.domain))
        if sent.error_code is None and diary.chance(0.02):
            messages.stop(diary, case, diary.later(asked, 1, 60), phone)


def _conclude(diary: Diary, case: Case, ledger: books.Ledger) -> None:
    """The truth as of the end of the town."""
    episode = case.episode
    episode.revenue_cents = ledger.kept_cents
    episode.booked = diary.seen(case.booked_at)
    if episode.booked:
        episode.outcome = "paid" if ledger.settled and ledger.kept_cents > 0 else "booked"
    elif diary.seen(case.lost_at):
        episode.outcome = "lost"
    else:
        episode.outcome = "open"
    if episode.outcome != "lost":
        episode.lost_reason = ""


def _channel(diary: Diary, *, returning: bool) -> str:
    if returning and diary.chance(0.6):
        return "direct"
    return diary.rng.choices(CHANNELS, CHANNEL_SHARES[diary.client.trade])[0]


def _price(diary: Diary, service: Service) -> int:
    low, high = service.dollars
    dollars = low + (high - low) * min(diary.rng.random(), diary.rng.random())
    return int(dollars) * 100 + (0 if diary.chance(0.6) else diary.rng.randrange(100))
