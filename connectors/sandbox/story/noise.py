"""Robots, salesmen and wrong numbers: records that belong to nobody."""

from __future__ import annotations

from datetime import datetime, timedelta

from connectors.sandbox.facts import Call, FormFill
from connectors.sandbox.story.demand import nuisances
from connectors.sandbox.story.diary import Diary
from connectors.sandbox.story.messages import text_back
from connectors.sandbox.story.people import new_phone
from connectors.sandbox.story.words import GIVEN, ROBOTS, SPAM_FORMS

TOLL_FREE = ("800", "833", "844", "855", "866", "877", "888")


def make_noise(diary: Diary) -> None:
    share = diary.rng.uniform(0.055, 0.078)
    count = round(len(diary.town.calls) * share / (1 - share))
    robots = [f"+1{diary.pick(TOLL_FREE)}555{diary.rng.randrange(100, 200):04d}" for _ in range(3 + count // 12)]
    for at in nuisances(diary, count):
        _nuisance_call(diary, at, robots)
    for at in nuisances(diary, round(len(diary.town.forms) * 0.02)):
        _spam_form(diary, at)


def _nuisance_call(diary: Diary, at: datetime, robots: list[str]) -> None:
    robot = diary.chance(0.72)
    answered = diary.chance(0.5 if robot else 0.75)
    seconds = diary.rng.randint(2, 25) if robot or not answered else diary.rng.randint(15, 140)
    flagged = robot and diary.chance(0.7)
    edited = diary.later(at, 5, 3000)
    marked = not flagged and answered and edited < diary.end and diary.chance(0.6)
    call = Call(
        n=diary.n("call"),
        client_id=diary.client.client_id,
        person_id="",
        episode_id="",
        at=at,
        changed_at=edited if marked else at + timedelta(seconds=seconds + 5),
        direction="inbound",
        line=diary.pick(diary.client.lines),
        phone=diary.pick(robots) if robot else new_phone(diary, far=0.6),
        caller_name=diary.pick(ROBOTS),
        answered=answered,
        voicemail=not answered and diary.chance(0.1),
        seconds=seconds,
        prior_calls=0,
        staff_email=diary.owner().email if answered else "",
        spam=flagged,
        lead_status="not_a_lead" if marked else "",
        tags=("Spam",) if marked and robot else ("Wrong number",) if marked and diary.chance(0.5) else (),
        value_cents=None,
        note="",
        service="",
    )
    diary.add(diary.town.calls, call)
    if not answered and not flagged and diary.chance(diary.texts_back[diary.joined(at)]):
        diary.landlines.add(call.phone)  # nobody there to text
        text_back(diary, None, at + timedelta(seconds=seconds), call.phone)


def _spam_form(diary: Diary, at: datetime) -> None:
    given = diary.pick(GIVEN)
    form = FormFill(
        n=diary.n("form"),
        client_id=diary.client.client_id,
        person_id="",
        episode_id="",
        at=at,
        changed_at=at,
        via=diary.pick(("callrail", "forms")),
        name=given,
        phone="",
        email=f"{given.lower()}{diary.rng.randrange(1000)}@offers.example",
        message=diary.pick(SPAM_FORMS),
        service="",
        page="/contact",
        channel="direct",
        consent_to_text=False,
    )
    diary.add(diary.town.forms, form)
