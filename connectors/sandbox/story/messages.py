"""Texts through the client's Twilio number, and what becomes of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors.sandbox.facts import Sms
from connectors.sandbox.story.diary import Case, Diary
from connectors.sandbox.story.words import AUTO_REPLY, REPLIES, STAFF_TEXT, TEXT_BACK, THANKS

STOPS = ("STOP", "Stop", "stop", "UNSUBSCRIBE", "STOP")


def send(
    diary: Diary, case: Case | None, at: datetime, phone: str, body: str, *, direction: str = "outbound-api"
) -> Sms:
    statuses, error = _fate(diary, at, phone)
    walked = [(when, status) for when, status in statuses if when < diary.end] or statuses[:1]
    if len(walked) < len(statuses):
        error = None
    sms = Sms(
        diary.n("sms"), diary.client.client_id, *_who(case), at, walked[-1][0], direction, phone, body, walked, error
    )
    return diary.add(diary.town.sms, sms)


def receive(diary: Diary, case: Case | None, at: datetime, phone: str, body: str, *, opt_out: str = "") -> Sms:
    sms = Sms(
        diary.n("sms"),
        diary.client.client_id,
        *_who(case),
        at,
        at,
        "inbound",
        phone,
        body,
        [(at, "received")],
        None,
        opt_out,
    )
    return diary.add(diary.town.sms, sms)


def text_back(diary: Diary, case: Case | None, missed_at: datetime, phone: str) -> datetime | None:
    """Answer a missed call with a text. Returns when the person answered it, if ever."""
    sent = send(diary, case, diary.later(missed_at, 1, 7), phone, TEXT_BACK.format(business=diary.client.name))
    if sent.error_code or case is None:
        return None
    draw = diary.rng.random()
    if draw < 0.03:
        stop(diary, case, diary.later(sent.at, 1, 200), phone)
        return None
    if draw > 0.40:
        return None
    replied = receive(diary, case, diary.later(sent.at, 1, 55), phone, say(diary, case, REPLIES))
    if diary.chance(0.15):
        # an auto-reply in the answer to the webhook, at once
        send(diary, case, replied.at + timedelta(seconds=1), phone, AUTO_REPLY, direction="outbound-reply")
    answered = send(diary, case, diary.in_hours(diary.later(replied.at, 2, 45)), phone, diary.pick(STAFF_TEXT))
    if diary.chance(0.6):
        receive(diary, case, diary.later(answered.at, 1, 90), phone, diary.pick(THANKS))
    return answered.at


def stop(diary: Diary, case: Case, at: datetime, phone: str) -> None:
    receive(diary, case, at, phone, diary.pick(STOPS), opt_out="STOP")
    if diary.chance(0.08):
        receive(diary, case, diary.days_later(at, 1, 9), phone, "START", opt_out="START")


def say(diary: Diary, case: Case, choices: tuple[str, ...]) -> str:
    return diary.pick(choices).format(
        service=case.service.name.lower(),
        city=case.person.address.city,
        given=case.person.given,
        business=diary.client.name,
    )


def textable(diary: Diary, case: Case) -> str:
    """The number a text would go to: a mobile if one is known."""
    return next((phone for phone in case.person.phones if phone not in diary.landlines), case.person.phones[0])


def without_sends_after_stop(texts: list[Sms]) -> list[Sms]:
    """Drop what could not have happened: after STOP nothing passes until START. `texts` in order of time."""
    stopped: set[str] = set()
    kept = []
    for sms in texts:
        if sms.opt_out_type == "START":
            stopped.discard(sms.phone)
        elif sms.phone in stopped:
            continue
        elif sms.opt_out_type == "STOP":
            stopped.add(sms.phone)
        kept.append(sms)
    return kept


def _who(case: Case | None) -> tuple[str, str]:
    return (case.person.person_id, case.episode.episode_id) if case else ("", "")


def _fate(diary: Diary, at: datetime, phone: str) -> tuple[list[tuple[datetime, str]], int | None]:
    """Status walk and error: landlines cannot take texts, some handsets are off, some numbers are gone."""
    walk = [(at, "queued"), (at + timedelta(seconds=1), "sent")]
    draw = diary.rng.random()
    if phone in diary.landlines:
        error = 30006
    elif draw < 0.012:
        error = 30003
    elif draw < 0.018:
        error = 30005
    elif draw < 0.024:
        return walk, None  # the receipt never came
    else:
        return [*walk, (at + timedelta(seconds=diary.rng.randint(2, 9)), "delivered")], None
    return [*walk, (at + timedelta(seconds=diary.rng.randint(4, 3600 if error == 30003 else 20)), "undelivered")], error
