"""A rotating credential is renewed once for all, saved before it is used, and given up only when a person must act."""

import threading
from datetime import timedelta

import pytest

from connectors.base import CredentialError, ProviderDown, Secret
from connectors.oauth import InvalidGrant, MemoryVault, RotatingToken, Tokens
from tests.conftest import FakeClock

HOUR = timedelta(hours=1)


class Provider:
    """Rotates strictly: every refresh token works once. `good` is the one that works now."""

    def __init__(self, clock: FakeClock, good: str = "r0") -> None:
        self.clock, self.good, self.asked, self.issued = clock, good, [], 0
        self.meanwhile = None

    def exchange(self, refresh_token: str) -> Tokens:
        self.asked.append(refresh_token)
        if self.meanwhile:
            self.meanwhile()
        if refresh_token != self.good:
            raise InvalidGrant
        self.issued += 1
        self.good = f"r{self.issued}"
        return Tokens(f"a{self.issued}", self.clock.now() + HOUR, refresh_token=self.good)


@pytest.fixture
def provider(clock):
    return Provider(clock)


def token(provider, vault, configured="r0", exchange=None):
    return RotatingToken(
        connection="acme/quickbooks",
        vault=vault,
        configured=Secret(configured),
        exchange=exchange or provider.exchange,
        clock=provider.clock,
    )


def bearer(rotating):
    return rotating.headers()["Authorization"]


def test_the_first_use_trades_the_configured_token_and_saves_the_new_pair(provider):
    vault = MemoryVault()
    assert bearer(token(provider, vault)) == "Bearer a1"
    assert (vault.tokens.access_token, vault.tokens.refresh_token, vault.tokens.previous_refresh_token) == (
        "a1",
        "r1",
        "r0",
    )


def test_a_token_with_time_left_is_used_as_it_is(provider):
    rotating = token(provider, MemoryVault())
    bearer(rotating)
    provider.clock.advance(50 * 60)
    assert bearer(rotating) == "Bearer a1"
    assert provider.asked == ["r0"]


def test_a_token_about_to_end_is_renewed_before_the_call(provider):
    rotating = token(provider, MemoryVault())
    bearer(rotating)
    provider.clock.advance(56 * 60)
    assert bearer(rotating) == "Bearer a2"
    assert provider.asked == ["r0", "r1"]


def test_the_new_pair_is_durable_before_anyone_can_use_it(provider):
    class DiskFull(MemoryVault):
        def save(self, tokens):
            raise OSError("disk full")

    vault = DiskFull()
    with pytest.raises(OSError, match="disk full"):
        bearer(token(provider, vault))
    assert vault.tokens is None


def test_a_process_killed_right_after_saving_leaves_a_token_that_works(provider):
    class Killed(BaseException):
        pass

    class KillsAfterSave(MemoryVault):
        def save(self, tokens):
            super().save(tokens)
            raise Killed

    vault = KillsAfterSave()
    with pytest.raises(Killed):
        bearer(token(provider, vault))
    provider.clock.advance(2 * 3600)
    assert bearer(token(provider, MemoryVault(vault.tokens))) == "Bearer a2"


def test_many_threads_renew_once(provider):
    vault, barrier, seen = MemoryVault(), threading.Barrier(8), []

    def worker():
        rotating = token(provider, vault)
        barrier.wait()
        seen.append(bearer(rotating))

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["Bearer a1"] * 8
    assert provider.asked == ["r0"]


def test_a_refused_access_token_is_renewed_once_for_all_who_held_it(provider):
    vault = MemoryVault()
    one, other = token(provider, vault), token(provider, vault)
    refused = one.headers()
    assert one.renew(refused)
    assert other.renew(refused)
    assert bearer(other) == "Bearer a2"
    assert provider.asked == ["r0", "r1"]


def test_a_token_stored_by_someone_else_during_the_renewal_is_tried(provider):
    vault = MemoryVault()
    rotating = token(provider, vault)
    bearer(rotating)
    mine = vault.tokens
    provider.good = "r9"  # a process that does not share our lock has rotated ...

    def stored_meanwhile():
        vault.tokens = Tokens("a9", provider.clock.now(), "r9", "r1", seed=mine.seed)  # ... and saves while we ask

    provider.clock.advance(3600)
    provider.meanwhile = stored_meanwhile
    assert bearer(rotating) == "Bearer a2"
    assert provider.asked == ["r0", "r1", "r9"]


def test_the_token_before_is_the_fallback_when_a_new_one_was_never_activated(provider):
    vault = MemoryVault()
    rotating = token(provider, vault)
    bearer(rotating)
    provider.good = "r0"
    provider.clock.advance(3600)
    assert bearer(rotating) == "Bearer a2"
    assert provider.asked == ["r0", "r1", "r0"]


def test_when_every_token_is_dead_a_person_is_asked_and_each_was_tried_once(provider):
    vault = MemoryVault()
    rotating = token(provider, vault)
    bearer(rotating)
    provider.good = ""
    provider.clock.advance(3600)
    with pytest.raises(CredentialError) as caught:
        bearer(rotating)
    assert provider.asked == ["r0", "r1", "r0"]
    assert "Reconnect" in caught.value.fix
    assert "r1" not in str(caught.value)


def test_a_vault_that_keeps_changing_cannot_keep_us_trying(provider):
    vault = MemoryVault()
    rotating = token(provider, vault)
    bearer(rotating)
    seed = vault.tokens.seed
    provider.good = ""
    provider.meanwhile = lambda: vault.save(
        Tokens("x", provider.clock.now(), f"dead{len(provider.asked)}", "", seed=seed)
    )
    provider.clock.advance(3600)
    with pytest.raises(CredentialError):
        bearer(rotating)
    assert len(provider.asked) <= 7


def test_a_newly_configured_token_starts_a_new_line(provider):
    vault = MemoryVault()
    bearer(token(provider, vault))
    provider.good = "reconnected"
    assert bearer(token(provider, vault, configured="reconnected")) == "Bearer a2"
    assert provider.asked == ["r0", "reconnected"]
    provider.clock.advance(3600)
    assert bearer(token(provider, vault, configured="reconnected")) == "Bearer a3"
    assert provider.asked[-1] == "r2"


def test_an_answer_without_a_new_refresh_token_keeps_the_old_one(provider):
    def same_value(refresh_token):
        return Tokens("a", provider.clock.now() + HOUR)

    vault = MemoryVault()
    bearer(token(provider, vault, exchange=same_value))
    assert vault.tokens.refresh_token == "r0"


def test_a_token_endpoint_that_is_down_is_not_taken_for_a_dead_token(provider):
    def down(refresh_token):
        raise ProviderDown("no answer.", connection="acme/quickbooks", fix="Wait.")

    vault = MemoryVault()
    with pytest.raises(ProviderDown):
        bearer(token(provider, vault, exchange=down))
    assert vault.tokens is None
    assert bearer(token(provider, vault)) == "Bearer a1"


def test_tokens_do_not_print_themselves(provider):
    vault = MemoryVault()
    bearer(token(provider, vault))
    assert "r1" not in repr(vault.tokens)
    assert "a1" not in repr(vault.tokens)
