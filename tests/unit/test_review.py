"""Nothing reaches a client that two people's worth of agreement did not put there, and everything can be taken back."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select, update

from pipeline.client_safe import review
from pipeline.client_safe.document import Content, Draft, Figure, Finding, Section, SourceState
from pipeline.client_safe.review import NotPossible, Person, Unknown
from pipeline.store import audit
from pipeline.store import summaries as store
from pipeline.store.schema import audit_log, metadata, publications, summaries, summary_log
from pipeline.store.tenancy import Clients

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=16)
EVERY = Clients(None)
ANN, BEN = Person("ann", EVERY), Person("ben", EVERY)
PERIOD = ("acme", "month", "2026-10-01")


def a_draft(snapshot: str = "s1", **changes: object) -> Draft:
    figure = Figure(
        "acme|month|2026-10-01|leads",
        "New leads",
        12,
        "count",
        "12",
        "client_safe.safe_figures",
        "2026-11-01T00:00:00Z",
    )
    draft = Draft(
        client_id="acme",
        kind="month",
        period_start="2026-10-01",
        period_end="2026-11-01",
        content=Content("October", "A good month.", (Section("Leads", ("You had 12 new leads.",)),)),
        figures=(figure,),
        sources=(SourceState("Calls", "complete", "2026-11-01T00:00:00Z", "Complete."),),
        query_hash="q1",
        snapshot_hash=snapshot,
        template_version="t1",
        redaction_version="r1",
        made_by="rule",
        author="leadtrail",
    )
    return replace(draft, **changes)  # type: ignore[arg-type]


def finding(kind: str = "personal_data") -> Finding:
    return Finding(kind, "section 1, line 1", "looks like a phone number", "…42")  # type: ignore[arg-type]


def row(engine: Engine, summary_id: str) -> dict[str, object]:
    with engine.connect() as connection:
        return dict(connection.execute(select(summaries).where(summaries.c.summary_id == summary_id)).mappings().one())


def shown(engine: Engine, client: str = "acme") -> list[dict[str, object]]:
    with engine.connect() as connection:
        return [dict(each) for each in store.shown_to(connection, client, limit=10)]


def proposed(engine: Engine, draft: Draft | None = None, now: datetime = NOW) -> str:
    summary_id = review.propose(engine, draft or a_draft(), now=now)
    assert summary_id
    return summary_id


def approved(engine: Engine, summary_id: str, by: Person = ANN, now: datetime = NOW) -> None:
    review.approve(engine, summary_id, str(row(engine, summary_id)["bound_hash"]), by=by, now=now)


def published(engine: Engine, draft: Draft | None = None, now: datetime = NOW) -> tuple[str, str]:
    summary_id = proposed(engine, draft, now)
    approved(engine, summary_id, now=now)
    [publication_id] = review.publish_due(engine, now=now + review.UNDO)
    return summary_id, publication_id


def current(snapshot: str, query: str = "q1") -> dict[tuple[str, str, str], tuple[str, str]]:
    return {PERIOD: (query, snapshot)}


def void(engine: Engine, snapshot: str, *, query: str = "q1", rules: str = "r1", now: datetime = LATER) -> list[str]:
    return review.void_where_changed(engine, current(snapshot, query), redaction_version=rules, now=now)


def test_nothing_is_shown_before_it_is_approved_and_its_undo_window_is_over(engine: Engine) -> None:
    summary_id = proposed(engine)
    assert review.publish_due(engine, now=LATER) == []
    approved(engine, summary_id)
    assert review.publish_due(engine, now=NOW + timedelta(minutes=14)) == []
    assert shown(engine) == []
    assert len(review.publish_due(engine, now=LATER)) == 1
    [one] = shown(engine)
    assert (one["status"], one["approved_by"], one["summary_id"]) == ("published", "ann", summary_id)
    assert json.loads(str(one["content"]))["figures"][0]["shown"] == "12"
    assert "safe_figures" not in str(one["content"]), "a client gets figures, not how they are queried"
    assert review.publish_due(engine, now=LATER) == [], "once"


def test_the_author_cannot_approve(engine: Engine) -> None:
    first = proposed(engine)
    edited = review.edit(
        engine, first, replace(a_draft().content, opening="A very good month."), by=ANN, check=lambda *_: (), now=NOW
    )
    with pytest.raises(NotPossible, match="Somebody else"):
        approved(engine, edited, by=ANN)
    approved(engine, edited, by=BEN)
    assert row(engine, first)["status"] == "edited"


def test_an_approval_is_of_exactly_what_was_read(engine: Engine) -> None:
    summary_id = proposed(engine)
    with pytest.raises(NotPossible, match="not this version"):
        review.approve(engine, summary_id, "another hash", by=ANN, now=NOW)
    content = json.loads(str(row(engine, summary_id)["content"])) | {"opening": "A bad month."}
    with engine.begin() as connection:  # somebody changes the words behind everybody's back
        connection.execute(update(summaries).values(content=json.dumps(content)))
    with pytest.raises(NotPossible, match="not this version"):
        approved(engine, summary_id)


def test_words_changed_after_the_approval_are_not_published(engine: Engine) -> None:
    summary_id = proposed(engine)
    approved(engine, summary_id)
    with engine.begin() as connection:
        connection.execute(update(summaries).values(figures="[]"))
    assert review.publish_due(engine, now=LATER) == []
    assert row(engine, summary_id)["status"] == "in_review"


def test_an_edit_voids_the_approval(engine: Engine) -> None:
    summary_id = proposed(engine)
    approved(engine, summary_id)
    content = replace(a_draft().content, opening="Another month.")
    new = review.edit(engine, summary_id, content, by=BEN, check=lambda *_: (), now=NOW)
    assert review.publish_due(engine, now=LATER) == []
    assert (row(engine, summary_id)["status"], row(engine, new)["status"]) == ("edited", "in_review")
    with pytest.raises(NotPossible, match="newer version"):
        review.edit(engine, summary_id, content, by=ANN, check=lambda *_: (), now=NOW)


def test_an_approval_can_be_undone_until_it_is_published(engine: Engine) -> None:
    summary_id = proposed(engine)
    approved(engine, summary_id)
    review.undo(engine, summary_id, by=BEN, now=NOW + timedelta(minutes=5))
    assert review.publish_due(engine, now=LATER) == []
    approved(engine, summary_id)
    review.publish_due(engine, now=LATER)
    with pytest.raises(NotPossible, match="Revoke"):
        review.undo(engine, summary_id, by=BEN, now=LATER)


def test_time_ends_a_draft_and_never_approves_one(engine: Engine) -> None:
    summary_id = proposed(engine)
    much_later = NOW + timedelta(days=30)
    with pytest.raises(NotPossible, match="in time"):
        approved(engine, summary_id, now=much_later)
    assert review.expire_old(engine, now=much_later) == [summary_id]
    assert review.publish_due(engine, now=much_later) == []
    assert row(engine, summary_id)["status"] == "expired"
    assert review.propose(engine, a_draft(), now=much_later) is None, "the same facts make no second draft"


def test_what_is_found_blocks_until_somebody_else_clears_it_and_a_wrong_figure_cannot_be_cleared(
    engine: Engine,
) -> None:
    summary_id = proposed(engine, a_draft(findings=(finding(), finding("figure"))))
    with pytest.raises(NotPossible, match="blocked"):
        approved(engine, summary_id)
    with pytest.raises(NotPossible, match="Say why"):
        review.clear_finding(engine, summary_id, finding().finding_id, " ", by=ANN, now=NOW)
    with pytest.raises(NotPossible, match="cannot be cleared"):
        review.clear_finding(engine, summary_id, finding("figure").finding_id, "it is right", by=ANN, now=NOW)
    review.clear_finding(engine, summary_id, finding().finding_id, "their own number", by=ANN, now=NOW)
    assert row(engine, summary_id)["status"] == "blocked"
    content = replace(a_draft().content, opening="Fine now.")
    new = review.edit(engine, summary_id, content, by=ANN, check=lambda *_: [finding()], now=NOW)
    with pytest.raises(NotPossible, match="You wrote"):
        review.clear_finding(engine, new, finding().finding_id, "mine", by=ANN, now=NOW)
    review.clear_finding(engine, new, finding().finding_id, "their own number", by=BEN, now=NOW)
    assert row(engine, new)["status"] == "in_review"
    approved(engine, new, by=BEN)


def test_changed_figures_void_the_approval_and_equal_ones_keep_it(engine: Engine) -> None:
    summary_id, _ = published(engine)
    assert void(engine, "s1") == []
    assert shown(engine)[0]["status"] == "published"
    assert review.propose(engine, a_draft(), now=LATER) is None
    assert void(engine, "s2") == [summary_id]
    [one] = shown(engine)
    assert (one["status"], one["reason"]) == ("in_re_review", review.RE_REVIEW)
    second = proposed(engine, a_draft("s2"), LATER)
    approved(engine, second, now=LATER)
    review.publish_due(engine, now=LATER + review.UNDO)
    assert [(each["status"], each["summary_id"]) for each in shown(engine)] == [("published", second)]
    assert row(engine, summary_id)["status"] == "replaced"


@pytest.mark.parametrize(("query", "rules"), [("q2", "r1"), ("q1", "r2")])
def test_a_changed_query_or_changed_redaction_rules_void_what_is_approved_and_not_out(
    engine: Engine, query: str, rules: str
) -> None:
    summary_id = proposed(engine)
    approved(engine, summary_id)
    assert void(engine, "s1", query=query, rules=rules) == [summary_id]
    assert review.publish_due(engine, now=LATER) == []
    assert row(engine, summary_id)["status"] == "outdated"
    assert proposed(engine, a_draft(query_hash=query, redaction_version=rules), LATER) != summary_id


def test_figures_that_come_back_still_need_a_new_approval(engine: Engine) -> None:
    published(engine)
    void(engine, "s2")
    again = proposed(engine, a_draft("s1"), LATER)
    assert row(engine, again)["version"] == 2
    assert void(engine, "s1") == []
    assert shown(engine)[0]["status"] == "in_re_review"


def test_a_revoked_publication_leaves_a_tombstone_and_who_saw_it(engine: Engine) -> None:
    summary_id, publication_id = published(engine)
    with engine.begin() as connection:
        one = store.shown(connection, "acme", publication_id)
        assert one is not None
        store.note_view(connection, one, "acc_1", LATER)
        store.note_view(connection, one, "acc_1", LATER + timedelta(hours=1))
    with pytest.raises(NotPossible, match="Say why"):
        review.revoke(engine, publication_id, "", by=BEN, now=LATER)
    review.revoke(engine, publication_id, "One figure was counted twice.", by=BEN, now=LATER)
    [one] = shown(engine)
    assert (one["status"], one["reason"]) == ("revoked", "One figure was counted twice.")
    assert row(engine, summary_id)["status"] == "revoked"
    with engine.connect() as connection:
        [seen] = store.views(connection, publication_id, EVERY)
    assert (seen["account_id"], seen["last_at"] > seen["first_at"]) == ("acc_1", True)
    assert review.propose(engine, a_draft(), now=LATER) is None, "a person has to write another one"


def test_an_earlier_publication_can_be_put_up_again_while_its_figures_hold(engine: Engine) -> None:
    first, publication_id = published(engine)
    edited = review.edit(
        engine, first, replace(a_draft().content, opening="Worse words."), by=ANN, check=lambda *_: (), now=LATER
    )
    approved(engine, edited, by=BEN, now=LATER)
    review.publish_due(engine, now=LATER + review.UNDO)
    review.roll_back(engine, publication_id, "the words were better", by=ANN, now=LATER)
    [one] = shown(engine)
    assert (one["summary_id"], one["status"], one["approved_by"]) == (first, "published", "ann")
    assert "rollback" in str(one["source"])
    with engine.connect() as connection:
        found = store.shown(connection, "acme", publication_id)
    assert found is not None
    assert found["publication_id"] == one["publication_id"], "an old address leads to what stands there now"


def test_figures_that_are_no_longer_true_are_not_put_up_again(engine: Engine) -> None:
    _, publication_id = published(engine)
    void(engine, "s2")
    second = proposed(engine, a_draft("s2"), LATER)
    approved(engine, second, now=LATER)
    review.publish_due(engine, now=LATER + review.UNDO)
    with pytest.raises(NotPossible, match="not today's"):
        review.roll_back(engine, publication_id, "nicer", by=ANN, now=LATER)


def test_a_hold_keeps_it_from_being_published_until_it_ends(engine: Engine) -> None:
    summary_id = proposed(engine)
    approved(engine, summary_id)
    assert review.publish_due(engine, now=LATER, held=lambda client: "a privacy check failed") == []
    assert "privacy" in str(row(engine, summary_id)["reason"])
    assert len(review.publish_due(engine, now=LATER)) == 1


def test_another_clients_summary_does_not_exist(engine: Engine) -> None:
    summary_id, publication_id = published(engine)
    stranger = Person("eve", Clients.of(["other"]))
    for decide in (
        lambda: review.approve(engine, summary_id, "x", by=stranger, now=NOW),
        lambda: review.reject(engine, summary_id, "no", by=stranger, now=NOW),
        lambda: review.undo(engine, summary_id, by=stranger, now=NOW),
        lambda: review.comment(engine, summary_id, "hm", by=stranger, now=NOW),
        lambda: review.clear_finding(engine, summary_id, "f", "ok", by=stranger, now=NOW),
        lambda: review.edit(engine, summary_id, a_draft().content, by=stranger, check=lambda *_: (), now=NOW),
        lambda: review.revoke(engine, publication_id, "x", by=stranger, now=NOW),
        lambda: review.roll_back(engine, publication_id, "x", by=stranger, now=NOW),
    ):
        with pytest.raises(Unknown):
            decide()
    with engine.connect() as connection:
        mine = Clients.of(["other"])
        assert store.listed(connection, mine) == []
        assert store.publications_of(connection, mine) == []
        assert store.history(connection, summary_id, mine) == []
        assert store.views(connection, publication_id, mine) == []
        assert store.shown(connection, "other", publication_id) is None
        assert store.shown_to(connection, "other", limit=10) == []
        assert store.listed(connection, Clients.of([])) == [], "of no client is not of every client"
        assert len(store.listed(connection, Clients.of(["acme"]))) == 1


def test_ten_rounds_at_once_make_one_version_and_publish_it_once(engine: Engine) -> None:
    def at_once(what: object) -> None:
        threads = [threading.Thread(target=what) for _ in range(10)]  # type: ignore[arg-type]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    at_once(lambda: review.propose(engine, a_draft(), now=NOW))
    with engine.connect() as connection:
        [one] = store.listed(connection, EVERY)
    approved(engine, one["summary_id"])
    at_once(lambda: review.publish_due(engine, now=LATER))
    with engine.connect() as connection:
        assert len(connection.execute(select(publications)).all()) == 1


def test_every_decision_is_in_the_history_and_in_the_sealed_log(engine: Engine) -> None:
    summary_id, publication_id = published(engine)
    review.comment(engine, summary_id, "well done", by=BEN, now=LATER)
    review.revoke(engine, publication_id, "wrong month", by=BEN, now=LATER)
    with engine.connect() as connection:
        told = [(each["who"], each["what"]) for each in store.history(connection, summary_id, EVERY)]
        actions = set(connection.execute(select(audit_log.c.action)).scalars())
    assert told == [
        ("leadtrail", "drafted"), ("ann", "approved"), ("leadtrail", "published"), ("ben", "commented"), ("ben", "revoked")
    ]  # fmt: skip
    assert {"summary drafted", "summary approved", "summary published", "summary revoked"} <= actions
    assert audit.verify(engine)[1] is None


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "propose",
                "approve",
                "stale approve",
                "undo",
                "reject",
                "edit",
                "publish",
                "void",
                "expire",
                "revoke",
                "clear",
            ]
        ),
        st.sampled_from([ANN, BEN]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_whatever_people_do_in_whatever_order_what_is_shown_was_approved_by_another_than_its_author(
    engine: Engine, actions: list[tuple[str, Person, int]]
) -> None:
    with engine.begin() as connection:
        for table in (summaries, summary_log, publications):
            connection.execute(delete(table))
    clock = NOW
    for what, who, n in actions:
        clock += timedelta(minutes=7)
        with engine.connect() as connection:
            newest = store.latest(connection, *PERIOD)
            up = store.shown_to(connection, "acme", limit=1)
        summary_id = str(newest["summary_id"]) if newest else "none"
        content = replace(a_draft().content, opening=f"Words {n} {clock:%H%M}")
        found = [finding()] if n == 3 else []
        try:
            match what:
                case "propose":
                    review.propose(engine, a_draft(f"s{n}", findings=tuple(found)), now=clock)
                case "approve":
                    review.approve(engine, summary_id, str(newest["bound_hash"]) if newest else "", by=who, now=clock)
                case "stale approve":
                    review.approve(engine, summary_id, "old", by=who, now=clock)
                case "undo":
                    review.undo(engine, summary_id, by=who, now=clock)
                case "reject":
                    review.reject(engine, summary_id, "no", by=who, now=clock)
                case "edit":
                    review.edit(engine, summary_id, content, by=who, check=lambda *_, f=found: f, now=clock)
                case "publish":
                    review.publish_due(engine, now=clock)
                case "void":
                    review.void_where_changed(engine, current(f"s{n}"), redaction_version="r1", now=clock)
                case "expire":
                    review.expire_old(engine, now=clock + timedelta(days=8 * n))
                case "revoke" if up:
                    review.revoke(engine, str(up[0]["publication_id"]), "wrong", by=who, now=clock)
                case "clear":
                    review.clear_finding(engine, summary_id, finding().finding_id, "fine", by=who, now=clock)
        except (NotPossible, Unknown):
            continue
    with engine.connect() as connection:
        for one in connection.execute(select(publications)).mappings():
            version = store.summary(connection, one["summary_id"], EVERY)
            assert version is not None
            assert one["bound_hash"] == version["bound_hash"]
            assert one["approved_by"] not in (version["author"], "leadtrail")
            assert all(each["cleared_by"] for each in json.loads(version["findings"]))
        standing = [
            each["standing"] for each in connection.execute(select(publications)).mappings() if each["standing"]
        ]
        assert len(standing) == len(set(standing))


def test_every_status_says_how_it_is_recovered_from() -> None:
    assert set(store.RECOVERY) == set(store.STATUSES)
    assert {"summaries", "publications"} <= set(metadata.tables)
