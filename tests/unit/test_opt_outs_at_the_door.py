"""What people say about being written to, in force with the webhook that brought it, on both kinds of store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from sqlalchemy import Engine, event, select

from connectors.base import Said, WebhookRequest
from pipeline.desk.group_commit import store_arrivals as store
from pipeline.desk.opt_outs_at_the_door import normalized, read_wish
from pipeline.store.audit import verify
from pipeline.store.inbox import Event
from pipeline.store.schema import audit_log, inbox, suppressions

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
PHONE, EMAIL = "+15125550123", "ann@example.com"


def arrival(key: str, said: Said | None = None, client: str = "ridgeline") -> tuple[Event, list[Said]]:
    request = WebhookRequest("https://x.example", {}, b"{}", NOW)
    return Event(client, "twilio", key, request), [said] if said else []


def text(words: str = "", *, told: Any = "", at: datetime = NOW, sender: str = PHONE) -> Said:
    return Said("text", "twilio:message_events:SM1", at, sender, words, told)


def mail(words: str = "", *, told: Any = "", at: datetime = NOW) -> Said:
    return Said("email", "mail:events:e1", at, "Ann@Example.com ", words, told)


def held(engine: Engine) -> dict[tuple[str, str, str], tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(select(suppressions)).all()
    return {(row.client_id, row.address, row.channel): (row.state, row.cause) for row in rows}


def keys(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(inbox.c.dedupe_key).order_by(inbox.c.id)).scalars())


@pytest.mark.parametrize(
    ("said", "state", "cause"),
    [
        (text("STOP"), "standing", "keyword"),
        (text(" please stop. "), "standing", "keyword"),
        (text("Quit"), "standing", "keyword"),
        (text("", told="stop"), "standing", "provider"),
        (text("don't text me again"), "in_review", "words"),
        (text("wrong number"), "in_review", "words"),
        (mail("Unsubscribe\n\nOn Monday Ridgeline wrote:\n> Hello"), "standing", "keyword"),
        (mail("Take me off your list please"), "in_review", "words"),
        (mail(told="stop"), "standing", "provider"),
        (mail(told="complaint"), "standing", "complaint"),
        (mail(told="bounce"), "standing", "bounce"),
    ],
)
def test_what_means_stop_is_in_force_when_its_webhook_is_stored(
    engine: Engine, said: Said, state: str, cause: str
) -> None:
    assert store(engine, [arrival("k", said)]) == [True]
    address = PHONE if said.channel == "text" else EMAIL
    assert held(engine) == {("ridgeline", address, said.channel): (state, cause)}
    assert keys(engine) == ["k"]


@pytest.mark.parametrize(
    "said",
    [
        text("Stop by tomorrow at nine"),
        text("Cancel my appointment Tuesday"),
        text("HELP"),
        text("", told="help"),
        text("START"),
        text("STOP", sender="12345"),
        text("STOP", sender=""),
        mail("Yes"),
        mail("Tuesday is fine.\n\n> Reply STOP to opt out"),
    ],
)
def test_what_means_nothing_of_the_kind_stops_nothing(engine: Engine, said: Said) -> None:
    assert store(engine, [arrival("k", said)]) == [True]
    assert held(engine) == {}


def test_start_lifts_a_stop_and_a_delivery_of_the_stop_again_changes_nothing(engine: Engine) -> None:
    stop, start = arrival("1", text("STOP")), arrival("2", text("start", at=NOW + timedelta(minutes=1)))
    store(engine, [stop])
    store(engine, [stop, start, stop])
    assert held(engine) == {("ridgeline", PHONE, "text"): ("lifted", "keyword")}
    store(engine, [stop] * 3)
    assert held(engine)["ridgeline", PHONE, "text"][0] == "lifted"
    with engine.connect() as connection:
        actions = list(connection.execute(select(audit_log.c.action).order_by(audit_log.c.seq)).scalars())
    assert actions == ["suppression.added", "suppression.lifted"]
    assert verify(engine) == (2, None)
    store(engine, [arrival("3", text("STOP", at=NOW + timedelta(minutes=2)))])
    assert held(engine)["ridgeline", PHONE, "text"][0] == "standing", "they may change their mind again"


def test_a_start_that_was_said_before_the_stop_but_comes_after_it_does_not_lift_it(engine: Engine) -> None:
    store(engine, [arrival("1", text("STOP"))])
    store(engine, [arrival("2", text("START", at=NOW - timedelta(minutes=1)))])
    assert held(engine)["ridgeline", PHONE, "text"][0] == "standing"


def test_a_word_in_a_mail_resubscribes_nobody_but_the_mail_services_word_does(engine: Engine) -> None:
    store(engine, [arrival("1", mail(told="stop")), arrival("2", mail("start"))])
    assert held(engine)["ridgeline", EMAIL, "email"][0] == "standing"
    store(engine, [arrival("3", mail(told="start"))])
    assert held(engine)["ridgeline", EMAIL, "email"][0] == "lifted"


def test_opting_out_of_one_client_says_nothing_of_another(engine: Engine) -> None:
    store(engine, [arrival("1", text("STOP"), "ridgeline"), arrival("1", text("ok"), "bluestem")])
    assert list(held(engine)) == [("ridgeline", PHONE, "text")]


def test_if_the_opt_out_cannot_be_written_the_event_is_not_stored_either_and_others_are(engine: Engine) -> None:
    """Each of the two failing halves alone would be a lie: stored without being in force, or in force without evidence."""

    def refuse(_: Any, __: Any, statement: str, *more: Any) -> None:
        if "suppressions" in statement.lower() and "insert" in statement.lower():
            raise RuntimeError("canary")

    event.listen(engine, "before_cursor_execute", refuse)
    try:
        group = [arrival("1", text("hello")), arrival("2", text("STOP")), arrival("3")]
        assert store(engine, group) == [True, False, True]
    finally:
        event.remove(engine, "before_cursor_execute", refuse)
    assert (sorted(keys(engine)), held(engine)) == (["1", "3"], {})
    assert store(engine, [arrival("2", text("STOP"))]) == [True], "sent again, it is taken"
    assert held(engine) == {("ridgeline", PHONE, "text"): ("standing", "keyword")}


@pytest.mark.parametrize(
    ("channel", "given", "kept"),
    [
        ("text", "+1 (512) 555-0123", PHONE),
        ("text", "512-555-0123", PHONE),
        ("text", "15125550123", PHONE),
        ("text", "whatsapp:+15125550123", PHONE),
        ("text", "+442071838750", "+442071838750"),
        ("text", "262966", ""),
        ("text", "anonymous\0", ""),
        ("email", " Ann@Example.COM", EMAIL),
        ("email", "ann", ""),
        ("email", "a b@example.com", ""),
        ("email", "a\0@example.com", ""),
    ],
)
def test_addresses_are_kept_as_messages_are_sent_to_them(
    channel: Literal["text", "email"], given: str, kept: str
) -> None:
    assert normalized(channel, given) == kept


def test_what_was_said_does_not_print_itself() -> None:
    said = text("my secret words", sender="+15125550123")
    assert "secret" not in repr(read_wish(text("STOP"))) + repr(said)
    assert "0123" not in repr(said) + repr(read_wish(text("STOP")))
