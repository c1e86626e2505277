"""How a person and the firm get hold of each other outside the marketplaces: calls, forms, texts to a tracking number."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors.sandbox.facts import Call, FormFill, TextThread
from connectors.sandbox.story.diary import Case, Diary
from connectors.sandbox.story.messages import say, send, text_back
from connectors.sandbox.story.people import shown_name, typed_email, typed_phone
from connectors.sandbox.story.words import ASKS, CALL_NOTES, FORM_RECEIVED, STAFF_TEXT, THANKS

PAGES = ("/contact", "/quote", "/schedule", "/", "/specials")


def call(diary: Diary, case: Case, at: datetime, channel: str, *, phone: str = "", outbound: bool = False) -> Call:
    """One call of this case, either way. `phone` defaults to one of the person's own."""
    if not phone:
        phone = case.person.phones[0 if len(case.person.phones) == 1 or diary.chance(0.75) else 1]
        if not outbound and diary.chance(0.008):
            phone = ""  # withheld
    answered = diary.chance(0.62 if outbound else _answer_rate(diary, at))
    voicemail = not answered and diary.chance(0.5 if outbound else 0.38)
    seconds = _seconds(diary, answered, voicemail)
    made = Call(
        n=diary.n("call"),
        client_id=diary.client.client_id,
        person_id=case.person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=at + timedelta(seconds=seconds + diary.rng.randint(2, 40)),
        direction="outbound" if outbound else "inbound",
        line=diary.lines.get(channel, diary.lines["direct"]),
        phone=phone,
        caller_name=shown_name(diary, case.person, phone) if phone else "Anonymous",
        answered=answered,
        voicemail=voicemail,
        seconds=seconds,
        prior_calls=0,  # counted when the story is told
        staff_email=diary.owner().email if answered or outbound else "",
        spam=False,
        lead_status="",
        tags=(),
        value_cents=None,
        note="",
        service=case.service.name,
    )
    diary.case_calls.append(made)
    return diary.add(diary.town.calls, made)


def by_phone(diary: Diary, case: Case, at: datetime, channel: str) -> datetime | None:
    """Call until somebody talks to them or they give up. Returns when they first talked."""
    texted: set[str] = set()
    first_contact: datetime | None = None
    for _ in range(4):
        made = call(diary, case, at, channel)
        ended = at + timedelta(seconds=made.seconds)
        if made.answered:
            return min(first_contact or ended, ended)
        day = diary.local_day(at)
        if made.phone and day not in texted and diary.chance(diary.texts_back[diary.joined(at)]):
            texted.add(day)  # one text a day, however often they call
            first_contact = first_contact or text_back(diary, case, ended, made.phone)
        again = _calls_again(diary, case, ended)
        back = _calls_back(diary, ended) if made.phone else None
        if back and (again is None or back < again):
            returned = call(diary, case, back, "direct", phone=made.phone, outbound=True)
            if returned.answered:
                ended = back + timedelta(seconds=returned.seconds)
                return min(first_contact or ended, ended)
        if again is None:
            return first_contact
        at = again
    return first_contact


def by_form(diary: Diary, case: Case, at: datetime, channel: str) -> datetime | None:
    """Fill in a form; the firm texts that it came, and calls."""
    form = fill_form(diary, case, at, channel)
    phone = case.person.phones[0] if form.phone else ""
    if phone and form.consent_to_text and diary.chance(diary.texts_back[diary.joined(at)] * 0.8):
        body = FORM_RECEIVED.format(
            given=case.person.given, business=diary.client.name, service=case.service.name.lower()
        )
        send(diary, case, diary.later(at, 0.2, 3), phone, body)
    return chased(diary, case, at, phone) if phone else None


def chased(diary: Diary, case: Case, at: datetime, phone: str) -> datetime | None:
    """The firm calls a number, up to three times; the person may ring the office in between. Returns when they talked."""
    slow = 90 if diary.joined(at) else 500
    for attempt in range(3):
        at = diary.in_hours(diary.later(at, 3, slow) if attempt == 0 else diary.days_later(at, 0.3, 2.2))
        if attempt and diary.chance(0.2):
            return None  # given up
        made = call(diary, case, at, "direct", phone=phone, outbound=True)
        ended = at + timedelta(seconds=made.seconds)
        if made.answered:
            return ended
        if diary.chance(0.3):
            rung = call(diary, case, diary.awake(diary.later(ended, 4, 400)), "direct")
            if rung.answered:
                return rung.at + timedelta(seconds=rung.seconds)
            at = rung.at
    return None


def by_text(diary: Diary, case: Case, at: datetime, channel: str) -> datetime | None:
    """Text a tracking number. Returns when the firm answered."""
    messages = [(at, "incoming", say(diary, case, ASKS))]
    answered = diary.in_hours(diary.later(at, 2, 60 if diary.joined(at) else 240)) if diary.chance(0.88) else None
    if answered:
        messages.append((answered, "outgoing", diary.pick(STAFF_TEXT)))
        if diary.chance(0.75):
            messages.append((diary.later(answered, 1, 120), "incoming", diary.pick(THANKS)))
    messages = [message for message in messages if message[0] < diary.end] or messages[:1]
    diary.add(
        diary.town.threads,
        TextThread(
            diary.n("thread"),
            diary.client.client_id,
            case.person.person_id,
            case.episode.episode_id,
            at,
            messages[-1][0],
            diary.lines.get(channel, diary.lines["direct"]),
            next((phone for phone in case.person.phones if phone not in diary.landlines), case.person.phones[0]),
            case.person.name if diary.chance(0.5) else "",
            messages,
        ),
    )
    return answered


def fill_form(diary: Diary, case: Case, at: datetime, channel: str) -> FormFill:
    person = case.person
    email = typed_email(diary, person)
    phone = typed_phone(diary, person.phones[0]) if not email or diary.chance(0.92) else ""
    form = FormFill(
        n=diary.n("form"),
        client_id=diary.client.client_id,
        person_id=person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=at,
        via="callrail" if diary.chance(0.5) else "forms",
        name=_typed_name(diary, person.name),
        phone=phone,
        email=email,
        message=say(diary, case, ASKS),
        service=case.service.name,
        page=diary.pick(PAGES),
        channel=channel if channel in diary.lines else "direct",
        consent_to_text=diary.chance(0.72),
    )
    return diary.add(diary.town.forms, form)


def mark_calls(diary: Diary) -> None:
    """What the office writes on this case's calls once it knows more: hours or days later, and not on all of them."""
    for made in diary.case_calls:
        if made.at >= diary.end or made.direction != "inbound" or not (made.answered or diary.chance(0.2)):
            continue
        edited = (
            diary.later(made.changed_at, 4, 600) if diary.chance(0.7) else diary.days_later(made.changed_at, 0.5, 9)
        )
        edited = diary.in_hours(edited)
        if edited >= diary.end or not diary.chance(0.72):
            continue
        made.lead_status, made.changed_at = "good_lead", edited
        if diary.chance(0.1):
            made.note = diary.pick(CALL_NOTES)


def mark_outcome(diary: Diary, case: Case) -> None:
    """Tags and value, put on one talked call when the job is booked or lost."""
    talked = next((made for made in diary.case_calls if made.answered and made.at < diary.end), None)
    decided = case.booked_at or case.lost_at
    if talked is None or decided is None or not diary.chance(0.55):
        return
    edited = diary.in_hours(diary.days_later(max(decided, talked.changed_at), 0.01, 4))
    if edited >= diary.end:
        return
    if case.booked_at:
        talked.tags, talked.lead_status = ("Booked", case.service.name), "good_lead"
        talked.value_cents = case.price_cents if diary.chance(0.6) else None
    elif case.episode.lost_reason in ("out of area", "not our service"):
        talked.tags, talked.lead_status = ("Not a fit",), "not_a_lead"
    else:
        talked.tags = ("Lost",)
    talked.changed_at = edited


def _answer_rate(diary: Diary, at: datetime) -> float:
    return diary.answers[diary.joined(at)] * (1.0 if diary.is_open(at) else 0.42)


def _seconds(diary: Diary, answered: bool, voicemail: bool) -> int:
    if answered:
        return int(diary.rng.lognormvariate(5.0, 0.7)) + 20
    return diary.rng.randint(18, 75) if voicemail else diary.rng.randint(3, 32)


def _calls_again(diary: Diary, case: Case, at: datetime) -> datetime | None:
    if not diary.chance(0.62 if case.episode.urgency == "emergency" else 0.42):
        return None
    return diary.later(at, 1, 35) if diary.chance(0.6) else diary.awake(diary.days_later(at, 0.4, 2.5))


def _calls_back(diary: Diary, at: datetime) -> datetime | None:
    joined = diary.joined(at)
    if not diary.chance(0.78 if joined else 0.52):
        return None
    return diary.in_hours(diary.later(at, 3, 60 if joined else 420))


def _typed_name(diary: Diary, name: str) -> str:
    draw = diary.rng.random()
    if draw < 0.08:
        return name.lower()
    if draw < 0.12:
        return name.split()[0]
    return name.upper() if draw < 0.15 else name
