"""Accounts, sessions and guesses: what may sign in, for how long, and what ends it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from pipeline.store import accounts, sessions
from pipeline.store.accounts import AccountProblem
from pipeline.store.login_attempts import AT_ONE_ACCOUNT, FROM_ANYWHERE, FROM_ONE_ADDRESS, WINDOW, Throttle
from pipeline.store.schema import accounts as accounts_table
from pipeline.store.schema import audit_log, login_attempts, login_links
from pipeline.store.schema import sessions as sessions_table
from pipeline.store.sessions import DESK, PORTAL
from tests.conftest import NOW

PASSWORD = "a kettle on the roof"
DANA, KIM = "dana@agency.example", "kim@ridgeline.example"


def made(engine: Engine, email: str = DANA, role: str = "client_success", clients: tuple[str, ...] = ("*",)) -> None:
    with engine.begin() as connection:
        accounts.add_account(
            connection, email, name="Dana", role=role, clients=clients, by="test", now=NOW, password=PASSWORD
        )


def signed_in(engine: Engine, email: str = DANA, realm: sessions.Realm = DESK) -> str:
    with engine.begin() as connection:
        return sessions.start(connection, accounts.the_account(connection, email), realm, NOW)


def found(engine: Engine, token: str, realm: sessions.Realm = DESK, after: timedelta = timedelta(0)) -> bool:
    with engine.connect() as connection:
        return sessions.find(connection, token, realm, NOW + after) is not None


# ---- accounts ----


def test_a_password_lets_its_account_in_and_nobody_else(engine: Engine) -> None:
    made(engine)
    assert accounts.password_is(engine, f" {DANA.upper()} ", PASSWORD) is not None
    assert accounts.password_is(engine, DANA, PASSWORD + "!") is None
    assert accounts.password_is(engine, "nobody@agency.example", PASSWORD) is None


def test_a_password_is_kept_as_an_argon2_hash_only(engine: Engine) -> None:
    made(engine)
    with engine.connect() as connection:
        (row,) = connection.execute(select(accounts_table)).all()
        said = connection.execute(select(audit_log.c.detail)).scalars().all()
    assert row.password_hash.startswith("$argon2id$")
    assert PASSWORD not in repr(row) + repr(said)


@pytest.mark.parametrize(
    ("role", "clients"),
    [("client", ("*",)), ("client", ("a", "b")), ("admin", ("a",)), ("boss", ("*",)), ("analyst", ())],
)
def test_an_account_that_sees_more_or_less_than_its_role_is_refused(
    engine: Engine, role: str, clients: tuple[str, ...]
) -> None:
    with pytest.raises(AccountProblem):
        made(engine, role=role, clients=clients)


@pytest.mark.parametrize("email", ["dana", "da na@x.example", "dana@x.example\nbcc: a@b.example", "@x.example", ""])
def test_what_is_no_address_makes_no_account(engine: Engine, email: str) -> None:
    with pytest.raises(AccountProblem):
        made(engine, email=email)


def test_one_address_has_one_account(engine: Engine) -> None:
    made(engine)
    with pytest.raises(AccountProblem, match="already"):
        made(engine, email=DANA.upper())


def test_a_short_password_is_refused(engine: Engine) -> None:
    made(engine)
    with engine.begin() as connection, pytest.raises(AccountProblem, match="12 to 256"):
        accounts.set_password(connection, DANA, "short", by="test", now=NOW)


# ---- sessions ----


def test_a_session_is_found_by_its_token_in_its_realm_alone_and_its_token_is_not_stored(engine: Engine) -> None:
    made(engine)
    token = signed_in(engine)
    assert len(token) >= 43  # 256 bits
    assert found(engine, token)
    assert not found(engine, token, PORTAL)
    assert not found(engine, token + "x")
    with engine.connect() as connection:
        assert token not in repr(connection.execute(select(sessions_table)).all())


def test_every_sign_in_is_a_new_token(engine: Engine) -> None:
    made(engine)
    assert signed_in(engine) != signed_in(engine)


def test_a_session_ends_when_nothing_comes_and_after_its_lifetime_even_if_something_does(engine: Engine) -> None:
    made(engine)
    token = signed_in(engine)
    assert found(engine, token, after=DESK.idle - timedelta(seconds=1))
    assert not found(engine, token, after=DESK.idle)
    at = timedelta(0)
    while at + timedelta(hours=1) < DESK.lifetime:
        at += timedelta(hours=1)
        with engine.begin() as connection:
            session = sessions.find(connection, token, DESK, NOW + at)
            assert session is not None
            sessions.seen(connection, session, NOW + at)
    assert not found(engine, token, after=DESK.lifetime)


def test_signing_out_ends_that_session_and_no_other(engine: Engine) -> None:
    made(engine)
    first, second = signed_in(engine), signed_in(engine)
    with engine.begin() as connection:
        session = sessions.find(connection, first, DESK, NOW)
        assert session is not None
        sessions.end(connection, session, NOW)
    assert not found(engine, first)
    assert found(engine, second)


@pytest.mark.parametrize("what", ["disable", "role", "password"])
def test_what_takes_something_from_an_account_ends_its_sessions_and_links_at_once(engine: Engine, what: str) -> None:
    made(engine)
    made(engine, KIM, "client", ("ridgeline",))
    token, others = signed_in(engine), signed_in(engine, KIM, PORTAL)
    with engine.begin() as connection:
        sessions.make_login_link(connection, accounts.the_account(connection, DANA), NOW)
        if what == "disable":
            assert accounts.disable(connection, DANA, by="test", now=NOW)
        elif what == "role":
            accounts.set_role(connection, DANA, role="analyst", clients=["ridgeline"], by="test", now=NOW)
        else:
            accounts.set_password(connection, DANA, "another kettle entirely", by="test", now=NOW)
    assert not found(engine, token)
    assert found(engine, others, PORTAL)
    with engine.connect() as connection:
        assert connection.execute(select(login_links)).all() == []


def test_a_disabled_account_signs_in_no_more(engine: Engine) -> None:
    made(engine)
    with engine.begin() as connection:
        accounts.disable(connection, DANA, by="test", now=NOW)
    assert accounts.password_is(engine, DANA, PASSWORD) is None
    with pytest.raises(PermissionError):
        signed_in(engine)


def test_a_client_has_no_session_on_the_desk_and_staff_none_on_the_portal(engine: Engine) -> None:
    made(engine)
    made(engine, KIM, "client", ("ridgeline",))
    for email, realm in ((KIM, DESK), (DANA, PORTAL)):
        with pytest.raises(PermissionError):
            signed_in(engine, email, realm)


# ---- links ----


def test_a_link_signs_its_client_in_once(engine: Engine) -> None:
    made(engine, KIM, "client", ("ridgeline",))
    with engine.begin() as connection:
        link = sessions.make_login_link(connection, accounts.the_account(connection, KIM), NOW)
    with engine.begin() as connection:
        token = sessions.use_login_link(connection, link, NOW)
        assert token is not None
        assert sessions.use_login_link(connection, link, NOW) is None
    assert found(engine, token, PORTAL)


def test_a_link_that_is_old_made_up_or_of_staff_signs_nobody_in(engine: Engine) -> None:
    made(engine)
    made(engine, KIM, "client", ("ridgeline",))
    with engine.begin() as connection:
        old = sessions.make_login_link(connection, accounts.the_account(connection, KIM), NOW)
        staffs = sessions.make_login_link(connection, accounts.the_account(connection, DANA), NOW)
        assert sessions.use_login_link(connection, old, NOW + sessions.LINK_LIFETIME) is None
        assert sessions.use_login_link(connection, "made up", NOW) is None
        assert sessions.use_login_link(connection, staffs, NOW) is None


# ---- guesses ----


def guess(engine: Engine, account: str, address: str, after: timedelta = timedelta(0), *, right: bool = False) -> bool:
    """Whether the password was looked at."""
    throttle = Throttle(b"k" * 32, "desk")
    with engine.begin() as connection:
        attempt = throttle.begin(connection, account, address, NOW + after)
        if right and not attempt.wait:
            throttle.right(connection, attempt)
    return not attempt.wait


def test_wrong_guesses_from_one_address_are_stopped_and_resume_when_the_window_is_over(engine: Engine) -> None:
    tried = [guess(engine, DANA, "203.0.113.9", timedelta(seconds=second)) for second in range(AT_ONE_ACCOUNT + 3)]
    assert tried == [True] * AT_ONE_ACCOUNT + [False] * 3
    assert guess(engine, DANA, "203.0.113.9", WINDOW + timedelta(seconds=1))


def test_who_guesses_locks_nobody_else_out(engine: Engine) -> None:
    assert guess(engine, DANA, "198.51.100.1", right=True)  # where she always signs in
    for number in range(FROM_ANYWHERE + 5):  # one try each from many addresses
        guess(engine, DANA, f"203.0.113.{number}", timedelta(minutes=1))
    assert not guess(engine, DANA, "192.0.2.77", timedelta(minutes=2))
    assert guess(engine, DANA, "198.51.100.1", timedelta(minutes=2))
    assert guess(engine, KIM, "192.0.2.77", timedelta(minutes=2))


def test_one_address_that_tries_many_accounts_is_stopped_and_a_colleague_beside_it_is_not(engine: Engine) -> None:
    assert guess(engine, KIM, "203.0.113.9", right=True)
    tried = [guess(engine, f"a{number}@agency.example", "203.0.113.9") for number in range(FROM_ONE_ADDRESS + 5)]
    assert tried == [True] * FROM_ONE_ADDRESS + [False] * 5
    assert guess(engine, KIM, "203.0.113.9", timedelta(minutes=1))


def test_a_right_password_takes_back_the_wrong_ones_before_it(engine: Engine) -> None:
    for second in range(AT_ONE_ACCOUNT - 1):
        assert guess(engine, DANA, "203.0.113.9", timedelta(seconds=second))
    assert guess(engine, DANA, "203.0.113.9", timedelta(seconds=9), right=True)
    assert all(guess(engine, DANA, "203.0.113.9", timedelta(seconds=10 + second)) for second in range(AT_ONE_ACCOUNT))


def test_attempts_name_neither_account_nor_address(engine: Engine) -> None:
    guess(engine, DANA, "203.0.113.9")
    with engine.connect() as connection:
        said = repr(connection.execute(select(login_attempts)).all())
    assert DANA not in said
    assert "203.0.113.9" not in said
