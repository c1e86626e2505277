"""Holds, suppressions and incidents: what is uncertain pauses, says why and whose it is, and resumes. On both stores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from pipeline.follow_up.holding import hold_on
from pipeline.store import audit
from pipeline.store.holds import CAUSES, EVERYTHING, Hold, clear_hold, open_hold, open_holds
from pipeline.store.incidents import open_incidents, report, resolve
from pipeline.store.schema import incidents
from pipeline.store.suppressions import lift, standing, suppress

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
PHONE = "+15125550142"


def hold(cause: str = "credential", scope: str = "text", client: str = "ridgeline") -> Hold:
    return Hold(
        client, scope, cause, "The token was refused.", "ana@agency.example", "Reconnect; it resumes by itself."
    )  # type: ignore[arg-type]


def an_output(channel: str, client: str = "ridgeline") -> dict[str, object]:
    return {"client_id": client, "channel": channel, "priority": 2}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_hold_stands_in_the_way_of_its_clients_scope_and_of_nothing_else(engine: Engine, cause: str) -> None:
    with engine.begin() as connection:
        assert open_hold(connection, hold(cause), NOW)
        found = hold_on(connection, an_output("text"))
        assert found is not None
        assert (found["cause"], found["owner"], found["recovery_rule"]) == (
            cause,
            "ana@agency.example",
            "Reconnect; it resumes by itself.",
        )
        assert hold_on(connection, an_output("email")) is None
        assert hold_on(connection, an_output("text", client="summit")) is None


def test_a_hold_on_everything_stands_in_the_way_of_every_scope(engine: Engine) -> None:
    with engine.begin() as connection:
        open_hold(connection, hold("privacy", EVERYTHING), NOW)
        assert hold_on(connection, an_output("crm_task")) is not None


def test_one_cause_opens_one_hold_however_often_and_by_however_many_it_is_seen(engine: Engine) -> None:
    def see(_: int) -> bool:
        with engine.begin() as connection:
            return open_hold(connection, hold(), NOW)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(see, range(8))) == 1
    with engine.connect() as connection:
        assert len(open_holds(connection, "ridgeline")) == 1


def test_a_cleared_hold_lets_work_through_stays_on_record_and_can_open_again(engine: Engine) -> None:
    with engine.begin() as connection:
        open_hold(connection, hold(), NOW)
        assert clear_hold(connection, hold().open_key, NOW + timedelta(hours=1), by="ana", note="Reconnected.")
        assert not clear_hold(connection, hold().open_key, NOW, by="ana", note="")
        assert hold_on(connection, an_output("text")) is None
        assert open_hold(connection, hold(), NOW + timedelta(hours=2))
    assert audit.verify(engine) == (3, None)


def test_who_opted_out_on_any_channel_is_written_to_on_none(engine: Engine) -> None:
    with engine.begin() as connection:
        suppress(connection, "ridgeline", PHONE, "any", cause="keyword", evidence="SM1", now=NOW)
        assert standing(connection, "ridgeline", PHONE, "text") is not None
        assert standing(connection, "summit", PHONE, "text") is None, "another client's customer may be the same person"


def test_words_that_may_mean_it_pause_until_a_person_has_looked(engine: Engine) -> None:
    with engine.begin() as connection:
        suppress(connection, "ridgeline", PHONE, "text", cause="words", evidence="SM1", now=NOW, in_review=True)
        found = standing(connection, "ridgeline", PHONE, "text")
        assert found is not None
        assert found["state"] == "in_review"
        assert lift(connection, "ridgeline", PHONE, "text", by="ana", evidence="SM1", now=NOW)
        assert standing(connection, "ridgeline", PHONE, "text") is None


def test_an_opt_out_is_never_weakened_and_a_later_one_counts_again(engine: Engine) -> None:
    with engine.begin() as connection:
        suppress(connection, "ridgeline", PHONE, "text", cause="keyword", evidence="SM1", now=NOW)
        suppress(connection, "ridgeline", PHONE, "text", cause="words", evidence="SM2", now=NOW, in_review=True)
        found = standing(connection, "ridgeline", PHONE, "text")
        assert found is not None
        assert (found["state"], found["evidence"]) == ("standing", "SM1")
        lift(connection, "ridgeline", PHONE, "text", by="them", evidence="START", now=NOW)
        suppress(connection, "ridgeline", PHONE, "text", cause="keyword", evidence="SM3", now=NOW)
        assert standing(connection, "ridgeline", PHONE, "text") is not None


def test_one_cause_is_one_incident_with_its_symptoms_counted(engine: Engine) -> None:
    given = {"title": "HubSpot refuses our token", "evidence": "401", "owner": "ana", "recovery_rule": "Reconnect."}

    def see(_: int) -> bool:
        with engine.begin() as connection:
            return report(connection, "hubspot-token", client_id="ridgeline", now=NOW, **given)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(see, range(8))) == 1
    with engine.begin() as connection:
        (one,) = open_incidents(connection)
        assert one["symptoms"] == 8
        assert resolve(connection, "hubspot-token", NOW, client_id="ridgeline", by="ana")
        assert open_incidents(connection) == []
        assert report(connection, "hubspot-token", client_id="ridgeline", now=NOW, **given), (
            "it is back: a new incident"
        )
        assert connection.execute(select(func.count()).select_from(incidents)).scalar() == 2
