"""The gate: every reason it can give, by name, and the order it asks in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.follow_up.compliance import judge, names_opt_out
from pipeline.follow_up.gate_facts import (
    ClientRules,
    Consent,
    Hold,
    Inbound,
    Ledger,
    Message,
    PendingRevocation,
    Recipient,
    Send,
    Suppression,
)
from pipeline.follow_up.quiet_hours import ClientHours, Week
from pipeline.follow_up.verdict import Reason, Verdict

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)  # a Tuesday, 12:00 in Ohio
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
TEXT = "Hi, this is Ace Plumbing. Shall we find a time? Reply STOP to opt out."
ADDRESS = "12 Main St, Columbus, OH 43215"
LINK = "https://ace.example/u/7"
OWNER = Recipient(phone="+16145550123", email="jo@example.com", zip_code="43215", line_type="mobile")
WRITTEN = Consent("express_written", NOON - 400 * DAY, "web form, box ticked")
SPOKEN = Consent("express", NOON - 30 * DAY, "told the office")
RULES = ClientRules(
    business_names=("Ace Plumbing",),
    physical_address=ADDRESS,
    texting_status="approved",
    approved_templates={"quote_reminder": frozenset({"v1", "v2"})},
)
SMS = Message(
    channel="sms",
    message_class="promotional",
    kind="quote_reminder",
    text=TEXT,
    template="quote_reminder",
    template_hash="v1",
    connection="twilio",
    episode="episode-1",
    episode_started_at=NOON - 3 * DAY,
    expires_at=NOON + 3 * DAY,
)
INFORM = replace(SMS, message_class="informational")
ANSWER = replace(SMS, message_class="conversational")
MAIL = replace(
    SMS, channel="email", text=f"{TEXT}\n{ADDRESS}\nUnsubscribe: {LINK}", unsubscribe_url=LINK, connection="smtp"
)
MISSED = replace(INFORM, kind="missed_call_text")
CONSENTED = Ledger(consents=(WRITTEN,))
A_CALL = Ledger(inbound=(Inbound(NOON - MINUTE, "call"),))


def sent(ago: timedelta, channel: str = "sms", kind: str = "quote_reminder", **more: object) -> Send:
    return replace(Send(NOON - ago, channel, "promotional", kind, "episode-1", named_opt_out=True), **more)  # type: ignore[arg-type]


def ledger(**more: object) -> Ledger:
    return replace(CONSENTED, **more)  # type: ignore[arg-type]


def rules(**more: object) -> ClientRules:
    return replace(RULES, **more)  # type: ignore[arg-type]


def gate(
    message: Message = SMS,
    known: Ledger = CONSENTED,
    who: Recipient = OWNER,
    setup: ClientRules = RULES,
    now: datetime = NOON,
) -> Verdict:
    return judge(message, who, known, setup, now)


STOPPED = Suppression(NOON - DAY, "sms", "the whole message is STOP")
LIFTED = replace(STOPPED, lifted_at=NOON - HOUR)
CONFIRM = replace(INFORM, kind="opt_out_confirmation")
JUST_STOPPED = Ledger(suppressions=(replace(STOPPED, at=NOON - MINUTE),))
OURSELVES = rules(provider_answers_keywords=False)
NIGHT = NOON + 10 * HOUR  # 22:00 in Ohio
THREE_TODAY = (sent(20 * HOUR, "email"), sent(9 * HOUR, "email"), sent(5 * HOUR, "email"))
SEVEN = tuple(sent(n * 3 * DAY, "email") for n in range(1, 8))
NEVER_OPEN = rules(hours=ClientHours(weeks={"promotional": Week(((),) * 7)}))

# each reason: what is asked, and what becomes of the message
CASES: dict[str, list[tuple[Verdict, str | None]]] = {
    "allowed": [(gate(), None), (gate(MAIL), None), (gate(MISSED, A_CALL), None)],
    "internal": [(gate(replace(SMS, channel="owner_task"), Ledger(), Recipient(), now=NIGHT), None)],
    "keyword_reply": [(gate(CONFIRM, JUST_STOPPED, setup=OURSELVES), None)],
    "expired": [
        (gate(now=NOON + 3 * DAY), "expired"),
        (gate(replace(SMS, channel="owner_task"), now=NOON + 3 * DAY), "expired"),
    ],
    "template_not_approved": [(gate(setup=rules(approved_templates={})), "held")],
    "template_changed": [(gate(replace(SMS, template_hash="edited")), "cancelled")],
    "on_hold": [
        (gate(setup=rules(holds=(Hold("the token was revoked", "twilio"),))), "held"),
        (gate(MAIL, setup=rules(holds=(Hold("the privacy check failed"),))), "held"),
    ],
    "provider_answers": [(gate(CONFIRM, JUST_STOPPED), "cancelled")],
    "keyword_reply_late": [
        (gate(CONFIRM, Ledger(suppressions=(STOPPED,)), setup=OURSELVES), "expired"),
        (gate(CONFIRM, Ledger(), setup=OURSELVES), "expired"),
    ],
    "keyword_reply_repeated": [
        (
            gate(
                CONFIRM, replace(JUST_STOPPED, sends=(sent(MINUTE / 2, kind="opt_out_confirmation"),)), setup=OURSELVES
            ),
            "cancelled",
        )
    ],
    "keyword_reply_not_informational": [
        (gate(replace(CONFIRM, message_class="promotional"), JUST_STOPPED, setup=OURSELVES), "cancelled")
    ],
    "opted_out": [
        (gate(known=ledger(suppressions=(STOPPED,))), "cancelled"),
        (gate(MAIL, ledger(suppressions=(STOPPED,))), "cancelled"),
        (gate(known=ledger(suppressions=(replace(STOPPED, lifted_at=NOON + HOUR),))), "cancelled"),
        (gate(known=ledger(suppressions=(LIFTED, replace(STOPPED, at=NOON - MINUTE)))), "cancelled"),
    ],
    "revocation_under_review": [
        (gate(known=ledger(revocations=(PendingRevocation(NOON - HOUR, "it says “wrong number”"),))), "held")
    ],
    "consent_missing": [
        (gate(known=Ledger()), "cancelled"),
        (gate(INFORM, Ledger()), "cancelled"),
        (gate(MAIL, Ledger()), "cancelled"),
        (gate(MISSED, CONSENTED), "cancelled"),
        (gate(known=ledger(suppressions=(LIFTED,))), "cancelled"),
    ],
    "consent_expired": [
        (gate(known=Ledger(consents=(replace(WRITTEN, expires_at=NOON),))), "cancelled"),
        (gate(INFORM, Ledger(consents=(Consent("inquiry", NOON - 91 * DAY, "form"),))), "cancelled"),
    ],
    "consent_not_written": [
        (gate(known=Ledger(consents=(SPOKEN,))), "cancelled"),
        (gate(known=Ledger(consents=(Consent("purchase", NOON - DAY, "invoice 9"),))), "cancelled"),
    ],
    "no_first_message": [(gate(ANSWER), "cancelled"), (gate(ANSWER, A_CALL), "cancelled")],
    "missed_call_text_not_informational": [(gate(replace(MISSED, message_class="promotional"), A_CALL), "cancelled")],
    "texting_not_approved": [
        (gate(setup=rules(texting_status=status)), "held") for status in ("", "pending", "suspended")
    ],
    "number_invalid": [
        (gate(who=replace(OWNER, phone=None)), "cancelled"),
        (gate(who=replace(OWNER, phone="+1614555")), "cancelled"),
        (gate(who=replace(OWNER, line_type="invalid")), "cancelled"),
    ],
    "number_outside_us": [
        (gate(who=replace(OWNER, phone="+14165550123")), "cancelled"),
        (gate(who=replace(OWNER, phone="+442071838750")), "cancelled"),
    ],
    "number_landline": [(gate(who=replace(OWNER, line_type="landline")), "cancelled")],
    "email_missing": [
        (gate(MAIL, who=replace(OWNER, email=None)), "cancelled"),
        (gate(MAIL, who=replace(OWNER, email="jo")), "cancelled"),
    ],
    "email_bounced": [(gate(MAIL, who=replace(OWNER, email_bounced=True)), "cancelled")],
    "business_not_named": [
        (gate(replace(SMS, text="Shall we find a time? Reply STOP to opt out.")), "cancelled"),
        (gate(setup=rules(business_names=())), "cancelled"),
    ],
    "opt_out_not_named": [
        (gate(replace(SMS, text="This is Ace Plumbing.")), "cancelled"),
        (gate(replace(SMS, text="This is Ace Plumbing."), ledger(sends=(sent(31 * DAY),))), "cancelled"),
    ],
    "address_missing": [
        (gate(replace(MAIL, text=f"{TEXT} {LINK}")), "cancelled"),
        (gate(MAIL, setup=rules(physical_address="")), "cancelled"),
    ],
    "unsubscribe_missing": [
        (gate(replace(MAIL, unsubscribe_url="")), "cancelled"),
        (gate(replace(MAIL, text=f"{TEXT} {ADDRESS}")), "cancelled"),
    ],
    "missed_call_answered": [
        (gate(MISSED, replace(A_CALL, sends=(sent(MINUTE, kind="missed_call_text"),))), "cancelled")
    ],
    "episode_full": [(gate(known=ledger(sends=SEVEN)), "cancelled")],
    "no_sending_hours": [(gate(setup=NEVER_OPEN), "held")],
    "expires_before_allowed": [
        (gate(replace(SMS, expires_at=NIGHT + HOUR), now=NIGHT), "expired"),
        (gate(replace(SMS, expires_at=NOON + HOUR), ledger(sends=THREE_TODAY)), "expired"),
    ],
    "quiet_hours": [(gate(now=NIGHT), None), (gate(MISSED, A_CALL, now=NIGHT), None)],
    "frequency": [(gate(known=ledger(sends=THREE_TODAY)), None), (gate(known=ledger(sends=(sent(HOUR),))), None)],
}
ALLOWS, WAITS = {"allowed", "internal", "keyword_reply"}, {"quiet_hours", "frequency"}


def test_every_reason_has_a_case() -> None:
    assert set(CASES) == set(get_args(Reason))


@pytest.mark.parametrize("reason", CASES)
def test_the_reason_is_given_in_code_and_in_words(reason: str) -> None:
    for verdict, status in CASES[reason]:
        assert verdict.reason == reason
        assert len(verdict.words.split()) >= 3
        assert verdict.final_status == status
        assert verdict.decision == ("allow" if reason in ALLOWS else "wait" if reason in WAITS else "refuse")
        assert (verdict.until is not None) == (reason in WAITS)
        assert verdict.owner_action or status != "held"  # what is held needs someone


def test_an_expired_message_is_expired_whatever_else_is_wrong() -> None:
    everything = rules(holds=(Hold("down"),), approved_templates={}, texting_status="")
    assert gate(known=ledger(suppressions=(STOPPED,)), setup=everything, now=NOON + 9 * DAY).reason == "expired"


def test_checks_are_asked_in_the_order_the_module_states() -> None:
    """Everything is wrong at first; each repair brings the next reason to light."""
    asked = {
        "message": replace(SMS, text="hi", template_hash="edited"),
        "known": Ledger(suppressions=(STOPPED,), revocations=(PendingRevocation(NOON, "words"),), sends=SEVEN),
        "who": replace(OWNER, line_type="landline"),
        "setup": rules(holds=(Hold("down"),), texting_status=""),
        "now": NIGHT + 4 * DAY,
    }
    repairs: list[tuple[Reason, str, dict[str, object]]] = [
        ("expired", "message", {"expires_at": None}),
        ("template_changed", "message", {"template_hash": "v2"}),
        ("on_hold", "setup", {"holds": ()}),
        ("opted_out", "known", {"suppressions": ()}),
        ("revocation_under_review", "known", {"revocations": ()}),
        ("consent_missing", "known", {"consents": (WRITTEN,)}),
        ("texting_not_approved", "setup", {"texting_status": "approved"}),
        ("number_landline", "who", {"line_type": "mobile"}),
        ("business_not_named", "message", {"text": TEXT}),
        ("episode_full", "known", {"sends": ()}),
    ]
    for reason, part, repair in repairs:
        assert gate(**asked).reason == reason  # type: ignore[arg-type]
        asked[part] = replace(asked[part], **repair)  # type: ignore[type-var]
    assert gate(**asked).reason == "quiet_hours"  # type: ignore[arg-type]


def test_a_lead_keeps_the_approved_version_it_began_on() -> None:
    assert gate(replace(SMS, template_hash="v1")).decision == gate(replace(SMS, template_hash="v2")).decision == "allow"


def test_a_hold_on_one_connection_leaves_the_others_alone() -> None:
    assert gate(MAIL, setup=rules(holds=(Hold("10DLC withdrawn", "twilio"),))).decision == "allow"


def test_an_owner_task_passes_at_night_for_someone_who_opted_out() -> None:
    task = replace(SMS, channel="owner_task", connection="hubspot")
    assert gate(task, Ledger(suppressions=(STOPPED,)), now=NIGHT).decision == "allow"


# opting out and back in


def test_opting_out_by_mail_stops_texts_too() -> None:
    assert gate(known=ledger(suppressions=(replace(STOPPED, channel="email"),))).reason == "opted_out"


def test_opting_in_again_lifts_the_stop_but_brings_no_old_consent_back() -> None:
    assert gate(known=ledger(suppressions=(LIFTED,))).reason == "consent_missing"
    again = replace(WRITTEN, at=NOON - MINUTE)
    assert gate(known=Ledger(suppressions=(LIFTED,), consents=(WRITTEN, again))).basis.since == again.at  # type: ignore[union-attr]


def test_a_call_from_before_the_opt_out_gives_no_right_to_answer_after_it() -> None:
    lifted = replace(STOPPED, at=NOON - MINUTE / 2, lifted_at=NOON - MINUTE / 4)
    assert gate(MISSED, replace(A_CALL, suppressions=(lifted,))).reason == "consent_missing"


# consent: what allows what, for how long


@pytest.mark.parametrize(
    ("zip_code", "kind", "ago", "allowed"),
    [
        ("43215", "inquiry", 90 * DAY, True),
        ("43215", "inquiry", 91 * DAY, False),
        ("90001", "inquiry", 30 * DAY, True),  # California
        ("90001", "inquiry", 31 * DAY, False),
        ("80202", "inquiry", 31 * DAY, False),  # Colorado
        ("07102", "inquiry", 2 * DAY, False),  # New Jersey knows no inquiry
        ("53202", "inquiry", 2 * DAY, False),  # nor does Wisconsin
        ("43215", "purchase", 547 * DAY, True),  # 18 months before 24 November 2026 is 24 May 2025
        ("43215", "purchase", 550 * DAY, False),
        ("75201", "purchase", 365 * DAY, True),  # Texas: 12 months
        ("75201", "purchase", 366 * DAY, False),
        ("98101", "purchase", 366 * DAY, False),  # Washington
        ("19103", "purchase", 366 * DAY, False),  # Pennsylvania
        ("06103", "purchase", 366 * DAY, False),  # Connecticut
        ("70112", "purchase", 180 * DAY, True),  # Louisiana: 6 months
        ("70112", "purchase", 185 * DAY, False),
        ("63101", "purchase", 185 * DAY, False),  # Missouri
        ("59101", "purchase", 185 * DAY, False),  # Montana
        ("39201", "purchase", 185 * DAY, False),  # Mississippi
        ("46204", "purchase", 2 * DAY, False),  # Indiana knows neither
        (None, "purchase", 2 * DAY, False),  # nor do we, where nothing says which state it is
    ],
)
def test_an_inquiry_or_a_purchase_allows_an_informational_text_as_long_as_the_state_says(
    zip_code: str | None, kind: str, ago: timedelta, allowed: bool
) -> None:
    known = Ledger(consents=(Consent(kind, NOON - ago, "evidence"),))  # type: ignore[arg-type]
    phone = OWNER.phone if zip_code else "+18005550123"
    verdict = gate(INFORM, known, replace(OWNER, zip_code=zip_code, phone=phone))
    if allowed:
        assert (verdict.decision, verdict.basis.kind) == ("allow", kind)  # type: ignore[union-attr]
    else:
        assert verdict.reason == "consent_expired"


def test_mail_keeps_the_federal_ages_in_every_state() -> None:
    known = Ledger(consents=(Consent("inquiry", NOON - 80 * DAY, "form"),))
    assert gate(MAIL, known, replace(OWNER, zip_code="90001")).decision == "allow"
    assert gate(MAIL, Ledger(consents=(Consent("inquiry", NOON - 91 * DAY, "form"),))).reason == "consent_expired"


def test_a_promotional_text_goes_out_on_written_consent_only() -> None:
    weaker = (SPOKEN, Consent("inquiry", NOON - DAY, "form"), Consent("purchase", NOON - DAY, "invoice"))
    assert gate(known=Ledger(consents=weaker, inbound=(Inbound(NOON - HOUR, "sms"),))).reason == "consent_not_written"
    assert gate(known=Ledger(consents=(*weaker, WRITTEN))).basis.kind == "express_written"  # type: ignore[union-attr]


def test_what_they_just_asked_is_answered_in_every_state() -> None:
    asked = Ledger(inbound=(Inbound(NOON - 23 * HOUR, "form"),))
    for zip_code in ("46204", "07102", "43215"):
        assert gate(INFORM, asked, replace(OWNER, zip_code=zip_code)).basis.kind == "reply"  # type: ignore[union-attr]
    assert gate(INFORM, Ledger(inbound=(Inbound(NOON - 25 * HOUR, "form"),))).reason == "consent_missing"


def test_a_conversation_they_began_goes_on_for_a_week() -> None:
    assert gate(ANSWER, Ledger(inbound=(Inbound(NOON - 7 * DAY, "sms"),))).basis.kind == "conversation"  # type: ignore[union-attr]
    assert gate(ANSWER, Ledger(inbound=(Inbound(NOON - 8 * DAY, "sms"),))).reason == "no_first_message"


def test_consent_from_the_future_is_no_consent() -> None:
    assert gate(known=Ledger(consents=(replace(WRITTEN, at=NOON + MINUTE),))).reason == "consent_missing"


def test_an_allowed_message_carries_the_basis_it_went_on() -> None:
    basis = gate().basis
    assert basis is not None
    assert (basis.kind, basis.since, basis.source) == ("express_written", WRITTEN.at, WRITTEN.source)


# how often


def test_three_missed_calls_in_ninety_seconds_give_one_text() -> None:
    known, texts = Ledger(), 0
    for call in (NOON, NOON + timedelta(seconds=40), NOON + timedelta(seconds=90)):
        known = replace(known, inbound=(*known.inbound, Inbound(call, "call")))
        if gate(MISSED, known, now=call + MINUTE).decision == "allow":
            texts += 1
            known = replace(
                known, sends=(*known.sends, replace(sent(-(call + MINUTE - NOON)), kind="missed_call_text"))
            )
    assert texts == 1


def test_a_call_missed_the_next_day_is_answered_again() -> None:
    yesterday = sent(timedelta(hours=16), kind="missed_call_text", message_class="informational", episode="another")
    assert gate(MISSED, replace(A_CALL, sends=(yesterday,))).decision == "allow"


def test_after_day_0_a_second_text_waits_for_tomorrow_morning() -> None:
    verdict = gate(known=ledger(sends=(sent(HOUR),)))
    assert (verdict.reason, verdict.until) == (
        "frequency",
        datetime(2026, 11, 25, 8, tzinfo=ZoneInfo("America/New_York")),
    )


def test_on_day_0_a_second_text_may_go() -> None:
    assert gate(replace(SMS, episode_started_at=NOON - 2 * HOUR), ledger(sends=(sent(HOUR),))).decision == "allow"


def test_the_fourth_touch_in_24_hours_waits_until_the_first_is_a_day_old() -> None:
    verdict = gate(MAIL, ledger(sends=(sent(21 * HOUR, "email"), sent(9 * HOUR), sent(5 * HOUR, "email"))))
    assert verdict.until == NOON + 3 * HOUR


def test_a_wait_satisfies_caps_and_hours_together() -> None:
    """Free of the cap at 21:00, which is out of hours: so the next morning."""
    verdict = gate(MAIL, ledger(sends=(sent(15 * HOUR, "email"), sent(2 * HOUR), sent(HOUR, "email"))))
    assert verdict.until == datetime(2026, 11, 25, 8, tzinfo=ZoneInfo("America/New_York"))
    assert (
        gate(
            MAIL, ledger(sends=(sent(15 * HOUR, "email"), sent(2 * HOUR), sent(HOUR, "email"))), now=verdict.until
        ).decision
        == "allow"
    )


def test_owner_tasks_and_answers_in_a_conversation_are_not_touches() -> None:
    uncounted = (
        sent(HOUR, "owner_task"),
        sent(HOUR, message_class="conversational"),
        sent(HOUR, kind="help_reply"),
    ) * 3
    assert gate(known=ledger(sends=uncounted)).decision == "allow"


def test_a_conversation_is_never_capped() -> None:
    known = Ledger(inbound=(Inbound(NOON - MINUTE, "sms"),), sends=(*THREE_TODAY, sent(HOUR), *SEVEN))
    assert gate(ANSWER, known).decision == "allow"


def test_another_episode_starts_with_its_own_seven() -> None:
    assert gate(replace(SMS, episode="episode-2"), ledger(sends=SEVEN)).decision == "allow"


def test_a_client_cannot_allow_more_than_three_touches_in_24_hours() -> None:
    with pytest.raises(ValueError, match="between 1 and 3"):
        rules(touches_in_24_hours=4)


# what the message must say


def test_a_later_text_need_not_repeat_who_we_are_until_a_month_has_passed() -> None:
    short = replace(SMS, text="Does Thursday suit you?")
    assert gate(short, ledger(sends=(sent(29 * DAY),))).decision == "allow"
    assert gate(short, ledger(sends=(sent(30 * DAY),))).reason == "business_not_named"
    assert gate(short, ledger(sends=(sent(DAY * 2, named_opt_out=False),))).reason == "business_not_named"


@pytest.mark.parametrize(
    "text", ["Reply STOP to opt out", "text stop to end", "Responda ALTO para no recibir más", "Reply with STOP"]
)
def test_ways_to_name_the_opt_out(text: str) -> None:
    assert names_opt_out(text)


@pytest.mark.parametrize("text", ["We stop by on Tuesday", "Reply YES", "Nonstop service. Text us"])
def test_words_that_do_not_name_the_opt_out(text: str) -> None:
    assert not names_opt_out(text)


# hours


def test_a_missed_call_at_night_is_answered_in_the_morning_unless_the_client_wants_the_grace_period() -> None:
    known = Ledger(inbound=(Inbound(NIGHT - MINUTE, "call"),))
    assert gate(MISSED, known, now=NIGHT).until == datetime(2026, 11, 25, 8, tzinfo=ZoneInfo("America/New_York"))
    graceful = rules(hours=ClientHours(grace=timedelta(minutes=30)))
    assert gate(MISSED, known, setup=graceful, now=NIGHT).decision == "allow"
    assert gate(known=ledger(inbound=known.inbound), setup=graceful, now=NIGHT).reason == "quiet_hours"


def test_the_wait_says_where_we_think_they_are_and_why() -> None:
    verdict = gate(who=replace(OWNER, zip_code=None), now=NIGHT)
    assert "area code 614 is in OH" in verdict.words


def test_a_clients_holiday_is_waited_out() -> None:
    closed = rules(
        hours=ClientHours(holidays=frozenset({date(2026, 11, 24), date(2026, 11, 25)}), promotional=(time(9), time(18)))
    )
    assert gate(setup=closed).until == datetime(2026, 11, 26, 9, tzinfo=ZoneInfo("America/New_York"))


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
MESSAGES = st.sampled_from([SMS, INFORM, ANSWER, MAIL, MISSED]).map(lambda each: replace(each, expires_at=None))
PAST = st.lists(st.tuples(st.integers(0, 4000), st.sampled_from(["sms", "email"])), max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    message=MESSAGES,
    now=MOMENTS,
    past=PAST,
    zip_code=st.sampled_from(["43215", "75201", "83501", "96813", "02903", None]),
)
def test_what_waits_is_allowed_when_its_time_comes_and_opting_out_always_wins(
    message: Message, now: datetime, past: list[tuple[int, str]], zip_code: str | None
) -> None:
    known = Ledger(
        consents=(replace(WRITTEN, at=now - DAY),),
        inbound=(Inbound(now - MINUTE, "sms"), Inbound(now - MINUTE, "call"), Inbound(now - MINUTE, "email")),
        sends=tuple(sent(NOON - now + ago * MINUTE, channel, episode="another") for ago, channel in past),
    )
    who = replace(OWNER, zip_code=zip_code)
    message = replace(message, episode_started_at=now - 2 * DAY)
    verdict = judge(message, who, known, RULES, now)
    if verdict.decision == "wait":
        assert verdict.until is not None
        assert verdict.until > now
        later = judge(message, who, known, RULES, verdict.until)
        # by then a call may be too long ago to be answered; nothing else stands in the way
        assert later.decision == "allow" or later.reason in {"consent_missing", "no_first_message"}
    else:
        assert verdict.decision == "allow"
    gone = replace(known, suppressions=(Suppression(now, "sms", "STOP"),))
    assert judge(message, who, gone, RULES, now).reason == "opted_out"


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        gate(now=datetime(2026, 11, 24, 12))  # noqa: DTZ001
