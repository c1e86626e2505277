"""Leads bought from Thumbtack and Angi: often behind a masked number that is later lent to somebody else."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors.sandbox.facts import AngiLead, ThumbtackLead, ThumbtackMessage, ThumbtackReview
from connectors.sandbox.story.diary import Case, Diary
from connectors.sandbox.story.messages import say, send, textable
from connectors.sandbox.story.people import new_phone, typed_email
from connectors.sandbox.story.touches import call, chased
from connectors.sandbox.story.words import ASKS, BAD_REVIEWS, FORM_RECEIVED, GOOD_REVIEWS, STAFF_TEXT, THANKS

MASKED = {"thumbtack": 0.45, "angi": 0.25}
LENT_AGAIN = 0.18  # share of masked leads whose number another customer had before
LENT_FOR_DAYS = 14
ANGI_TASKS = ("Repair", "Install", "Replace", "Service")


def by_thumbtack(diary: Diary, case: Case, at: datetime) -> datetime | None:
    """A lead with its opening message; the two chat, and often the customer rings the office later."""
    lead = _thumbtack_lead(diary, case, at)
    case.negotiation_id = lead.negotiation_id
    _message(diary, case, at + timedelta(seconds=1), "Customer", lead.description)
    contacted = None
    if diary.chance(0.9):
        slow = 25 if diary.joined(at) else 200
        replied = diary.in_hours(diary.later(at, 1, slow))
        _message(diary, case, replied, "Business", diary.pick(STAFF_TEXT))
        if diary.chance(0.62):
            contacted = diary.awake(diary.later(replied, 2, 600))
            _message(diary, case, contacted, "Customer", diary.pick(THANKS))
            if diary.chance(0.35):
                _message(
                    diary, case, diary.in_hours(diary.later(contacted, 3, 120)), "Business", diary.pick(STAFF_TEXT)
                )
    if contacted is None and diary.chance(0.7):
        contacted = chased(diary, case, at, lead.shown_phone)
    elif contacted and diary.chance(0.4):
        call(diary, case, diary.awake(diary.later(contacted, 10, 2880)), "direct")
    return contacted


def by_angi(diary: Diary, case: Case, at: datetime) -> datetime | None:
    """A lead pushed at once; the firm may text only if the homeowner agreed, and calls in any case."""
    lead = _angi_lead(diary, case, at)
    if diary.chance(0.05):
        # the same request under a second task: a lead of its own with its own fee
        _angi_lead(diary, case, diary.later(at, 1, 20), first=lead)
    if lead.consent and not lead.masked and diary.chance(diary.texts_back[diary.joined(at)] * 0.8):
        body = FORM_RECEIVED.format(
            given=case.person.given, business=diary.client.name, service=case.service.name.lower()
        )
        send(diary, case, diary.later(at, 0.5, 4), textable(diary, case), body)
    contacted = chased(diary, case, at, lead.shown_phone)
    if diary.chance(0.25):
        rung = call(diary, case, diary.awake(diary.days_later(contacted or at, 0.05, 2.5)), "direct")
        contacted = contacted or (rung.at if rung.answered else None)
    return contacted


def review(diary: Diary, case: Case) -> None:
    """What a Thumbtack customer writes when the job is done; most write nothing."""
    if not case.negotiation_id or case.done_at is None or not diary.chance(0.5 if case.complaint else 0.25):
        return
    at = diary.awake(diary.days_later(case.done_at, 0.5, 12))
    rating = diary.rng.randint(1, 2) if case.complaint else diary.pick((5, 5, 5, 5, 4, 4, 3))
    n = diary.n("thumbtack_review")
    text = diary.pick(BAD_REVIEWS if rating < 3 else GOOD_REVIEWS)
    diary.add(
        diary.town.thumbtack_reviews,
        ThumbtackReview(
            n,
            diary.client.client_id,
            case.person.person_id,
            case.episode.episode_id,
            at,
            at,
            _id(7, n),
            case.negotiation_id,
            rating,
            text,
        ),
    )


def _thumbtack_lead(diary: Diary, case: Case, at: datetime) -> ThumbtackLead:
    n = diary.n("thumbtack_lead")
    shown, masked = _shown_phone(diary, case, at, "thumbtack")
    charge, changed = "Created", at
    for state, low, high in (("Pending", 0.02, 0.5), ("Charged", 0.5, 2.0)):
        then = diary.days_later(changed, low, high)
        if then >= diary.end:
            break
        charge, changed = state, then
    refunded = diary.days_later(changed, 1, 8) if charge == "Charged" and diary.chance(0.06) else None
    if refunded and refunded < diary.end:
        charge, changed = "Refunded", refunded
    lead = ThumbtackLead(
        n=n,
        client_id=diary.client.client_id,
        person_id=case.person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=changed,
        negotiation_id=_id(5, n),
        customer_id=_id(3, case.person.n),
        shown_phone=shown,
        masked=masked,
        price_cents=diary.rng.randint(1100, 4800 if case.price_cents < 200_000 else 10_900),
        charge_state=charge,
        category=case.service.name,
        description=say(diary, case, ASKS),
        refunded_at=changed if charge == "Refunded" else None,
    )
    return diary.add(diary.town.thumbtack_leads, lead)


def _message(diary: Diary, case: Case, at: datetime, sender: str, text: str) -> None:
    n = diary.n("thumbtack_message")
    diary.add(
        diary.town.thumbtack_messages,
        ThumbtackMessage(
            n,
            diary.client.client_id,
            case.person.person_id,
            case.episode.episode_id,
            at,
            at,
            _id(6, n),
            case.negotiation_id,
            sender,
            text,
        ),
    )


def _angi_lead(diary: Diary, case: Case, at: datetime, *, first: AngiLead | None = None) -> AngiLead:
    n = diary.n("angi_lead")
    shown, masked = (first.shown_phone, first.masked) if first else _shown_phone(diary, case, at, "angi")
    draw = diary.rng.random()
    lead = AngiLead(
        n=n,
        client_id=diary.client.client_id,
        person_id=case.person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=at,
        lead_oid=550_000_000 + n,
        sr_oid=first.sr_oid if first else 180_000_000 + n,
        shown_phone=shown,
        masked=masked,
        email=first.email if first else typed_email(diary, case.person, leaves_out=0.04),
        fee_cents=diary.rng.randint(1500, 8900),
        task=f"{case.service.name} - {diary.pick(ANGI_TASKS)}",
        comments=say(diary, case, ASKS) if diary.chance(0.8) else "",
        match_type="Direct Match" if diary.chance(0.3) else "Lead",
        consent=first.consent if first else True if draw < 0.74 else False if draw < 0.86 else None,
        pushed=not diary.chance(0.05),
    )
    return diary.add(diary.town.angi_leads, lead)


def _shown_phone(diary: Diary, case: Case, at: datetime, market: str) -> tuple[str, bool]:
    """(number, masked)."""
    if not diary.chance(MASKED[market]):
        return case.person.phones[0], False
    case.proxy_phone = _proxy(diary, at)
    return case.proxy_phone, True


def _proxy(diary: Diary, at: datetime) -> str:
    """A masked number. It comes back to the market's pool after a while and is lent again."""
    if diary.proxies and diary.chance(LENT_AGAIN):
        where = int(diary.rng.random() * len(diary.proxies))
        lent_at, phone = diary.proxies[where]
        if at - lent_at > timedelta(days=LENT_FOR_DAYS):
            diary.proxies[where] = (at, phone)
            return phone
    phone = new_phone(diary, far=0.3)
    diary.proxies.append((at, phone))
    return phone


def _id(kind: int, n: int) -> str:
    """18 digits that no float can hold."""
    return str(kind * 10**17 + n * 7_919 + 50_000_000_000_057)
