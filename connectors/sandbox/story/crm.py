"""What the office keeps in HubSpot: contacts (some twice, some never), deals through their stages, tasks."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors.sandbox.facts import DEAL_STAGES, Contact, CrmTask, Deal
from connectors.sandbox.story.diary import Case, Diary
from connectors.sandbox.story.people import typed_email, typed_phone

NEVER_ENTERED = 0.12
ENTERED_TWICE = 0.07
SOURCES = {
    "google_paid": "PAID_SEARCH",
    "google_organic": "ORGANIC_SEARCH",
    "google_my_business": "ORGANIC_SEARCH",
    "facebook": "PAID_SOCIAL",
    "direct": "DIRECT_TRAFFIC",
    "referral": "REFERRALS",
}


def enter(diary: Diary, case: Case, touch: str) -> None:
    """The case as the CRM has it by the end: contact, deal, tasks. `touch` is how the person first got in touch."""
    by_form = touch == "form"
    contact = diary.contacts.get(case.person.person_id)
    if contact is None:
        if diary.chance(NEVER_ENTERED):
            return
        contact = _contact(diary, case, _entry_time(diary, case, by_form=by_form), touch)
        if contact.at >= diary.end:
            return
        diary.contacts[case.person.person_id] = contact
        if diary.chance(ENTERED_TWICE):
            _duplicate(diary, case, contact)
        entered = contact.at
    else:
        entered = _entry_time(diary, case, by_form=by_form)
    if diary.chance(0.86):
        _deal(diary, case, contact, entered)
    _tasks(diary, case, contact, entered)


def _entry_time(diary: Diary, case: Case, *, by_form: bool) -> datetime:
    opened = case.episode.opened_at
    if by_form and diary.chance(0.6):
        return diary.later(opened, 0.5, 4)  # the form tool writes it
    return diary.later(opened, 2, 90) if diary.chance(0.6) else diary.in_hours(diary.later(opened, 90, 1440))


def _contact(diary: Diary, case: Case, at: datetime, touch: str) -> Contact:
    person, by_form = case.person, touch == "form"
    phone = _known_phone(diary, case)
    email = typed_email(diary, person, leaves_out=0.05 if by_form else 0.3) if _knows_email(diary, case, touch) else ""
    contact = Contact(
        n=diary.n("contact"),
        client_id=diary.client.client_id,
        person_id=person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=at,
        given=person.given,
        family=person.family if diary.chance(0.93) else "",
        email=_tidy(email),
        phone=typed_phone(diary, phone) if diary.chance(0.95) else "",
        owner=diary.owner(),
        lifecycle="lead",
        lead_status=diary.pick(("NEW", "NEW", "OPEN", "ATTEMPTED_TO_CONTACT", "")),
        email_optout=diary.chance(0.02),
        source=SOURCES.get(case.episode.channel, "OFFLINE") if by_form else "OFFLINE",
    )
    if not contact.email and not contact.phone:
        contact.phone = typed_phone(diary, phone)
    return diary.add(diary.town.contacts, contact)


def _known_phone(diary: Diary, case: Case) -> str:
    """Behind a masked number nobody knows the real one before the visit is booked."""
    return case.proxy_phone if case.proxy_phone and not diary.seen(case.booked_at) else case.person.phones[0]


def _knows_email(diary: Diary, case: Case, touch: str) -> bool:
    """Forms and Angi say it; Thumbtack never does; on the phone one asks for it."""
    if touch == "thumbtack":
        return diary.seen(case.booked_at)
    return touch in ("form", "angi") or diary.seen(case.contacted_at)


def _duplicate(diary: Diary, case: Case, first: Contact) -> None:
    """Somebody enters the person again; later the two are merged, or one is thrown away, or nobody notices."""
    person = case.person
    at = diary.in_hours(diary.days_later(first.at, 0.2, 20))
    draw, tidied = diary.rng.random(), diary.in_hours(diary.days_later(at, 1, 40))
    done = tidied < diary.end
    other_email = next((email for email in person.emails if email != first.email.lower()), "")
    twin = Contact(
        n=diary.n("contact"),
        client_id=diary.client.client_id,
        person_id=person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=tidied if done and draw < 0.7 else at,
        given=person.given,
        family=person.family,
        email=other_email if diary.seen(case.booked_at) and diary.chance(0.5) else "",
        phone=typed_phone(diary, person.phones[-1] if diary.seen(case.booked_at) else _known_phone(diary, case)),
        owner=diary.owner(),
        lifecycle="lead",
        lead_status="NEW",
        email_optout=False,
        source="OFFLINE",
        archived=done and 0.5 <= draw < 0.7,
        merged_into=first.n if done and draw < 0.5 else 0,
    )
    diary.add(diary.town.contacts, twin)
    if twin.merged_into:
        first.changed_at = max(first.changed_at, tidied)


def _deal(diary: Diary, case: Case, contact: Contact, entered: datetime) -> None:
    stages = _stages(diary, case, diary.later(entered, 0, 30))
    if stages[0][0] >= diary.end:
        return
    reached = [stage for stage in stages if stage[0] < diary.end]
    final = reached[-1][1]
    priced = final in ("quoted", "booked", "won") or any(stage == "quoted" for _, stage in reached)
    deal = Deal(
        n=diary.n("deal"),
        client_id=diary.client.client_id,
        person_id=case.person.person_id,
        episode_id=case.episode.episode_id,
        at=reached[0][0],
        changed_at=reached[-1][0],
        name=f"{case.person.name} - {case.service.name}",
        contact=contact.n,
        owner=contact.owner,
        amount_cents=case.price_cents if priced and diary.chance(0.9) else None,
        stages=reached,
        lost_reason=case.episode.lost_reason if final == "lost" and diary.chance(0.7) else "",
    )
    if diary.chance(0.012):
        thrown = diary.days_later(deal.changed_at, 1, 30)
        if thrown < diary.end:
            deal.archived, deal.changed_at = True, thrown
    diary.add(diary.town.deals, deal)
    _advance(contact, {stage: at for at, stage in reached})


def _stages(diary: Diary, case: Case, at: datetime) -> list[tuple[datetime, str]]:
    """When the office moved the deal: hours after the fact, and a lost one is often left where it was."""
    moments = {
        "new": at,
        "quoted": case.quoted_at and diary.in_hours(diary.later(case.quoted_at, 1, 300)),
        "booked": case.booked_at and diary.in_hours(diary.later(case.booked_at, 2, 900)),
        "won": case.done_at and diary.in_hours(diary.days_later(case.done_at, 0.05, 3)),
        "lost": case.lost_at and diary.in_hours(diary.days_later(case.lost_at, 0.1, 5)) if diary.chance(0.72) else None,
    }
    stages: list[tuple[datetime, str]] = []
    for stage in DEAL_STAGES:
        moment = moments[stage]
        if moment is not None:
            if stages and moment <= stages[-1][0]:
                moment = stages[-1][0] + timedelta(minutes=5)
            stages.append((moment, stage))
    return stages


def _advance(contact: Contact, reached: dict[str, datetime]) -> None:
    for stage, lifecycle, status in (("quoted", "opportunity", "OPEN_DEAL"), ("won", "customer", "CONNECTED")):
        if stage in reached and contact.lifecycle != "customer":
            contact.lifecycle, contact.lead_status = lifecycle, status
            contact.changed_at = max(contact.changed_at, reached[stage])


def _tasks(diary: Diary, case: Case, contact: Contact, entered: datetime) -> None:
    if (case.contacted_at is None or case.contacted_at > entered) and diary.chance(0.45):
        priority = "HIGH" if case.episode.urgency == "emergency" else "MEDIUM"
        _task(diary, case, contact, entered, f"Call back {case.person.given}", "CALL", priority, 0.1)
    if case.quoted_at and diary.chance(0.5):
        at = diary.later(case.quoted_at, 5, 400)
        _task(diary, case, contact, at, f"Follow up on quote: {case.service.name}", "TODO", "MEDIUM", 3)


def _task(
    diary: Diary, case: Case, contact: Contact, at: datetime, subject: str, kind: str, priority: str, due_days: float
) -> None:
    due = diary.in_hours(at + timedelta(days=due_days))
    finished = diary.in_hours(diary.days_later(at, 0.02, due_days * 1.6 + 0.1))
    done = diary.chance(0.76) and finished < diary.end
    diary.add(
        diary.town.crm_tasks,
        CrmTask(
            diary.n("crm_task"),
            diary.client.client_id,
            case.person.person_id,
            case.episode.episode_id,
            at,
            finished if done else at,
            subject,
            kind,
            priority,
            due,
            done,
            contact.n,
            contact.owner,
        ),
    )


def _tidy(email: str) -> str:
    """HubSpot keeps addresses in lower case and refuses blanks."""
    return email.strip().lower()
