"""The shared transport (`connectors/http.py`) against a scripted server on a real socket."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from connectors.base import ContractChanged, CredentialError, ProviderDown, RateLimited, Rejected, Secret
from connectors.http import Account, Auth, Budget, Http, Limit, Limiter, StaticAuth, basic
from tests.conftest import NOW, Stub

OK = (200, {}, b'{"items":[1]}')
KEY = "key-4f1d9c"


@pytest.fixture
def account(stub: Stub, http: Http) -> Callable[..., Account]:
    def make(*, auth: Auth | None = None, connection: str = "ridgeline/stub", **options: Any) -> Account:
        auth = auth or StaticAuth({"Authorization": f"Bearer {KEY}"})
        return Account(http, connection=connection, base_url=stub.origin, auth=auth, **options)

    return make


@pytest.fixture
def real_http() -> Iterator[Http]:
    """For cases about real seconds."""
    client = Http()
    yield client
    client.close()


# ---- waiting as told ----


def test_retry_after_in_seconds_is_waited_out_in_full(account, stub, clock):
    stub.script = [(429, {"retry-after": "7"}, b""), (503, {"retry-after": "3.5"}, b""), OK]

    assert account().get("/list", dict) == {"items": [1]}
    assert clock.slept == [7, 3.5]


def test_retry_after_as_a_date_is_never_undercut(account, stub, clock):
    clock.advance(0.25)  # HTTP dates have whole seconds: we are a quarter past one
    until = NOW + timedelta(seconds=20)
    stub.script = [(429, {"retry-after": format_datetime(until, usegmt=True)}, b""), OK]

    account().get("/list", dict)
    assert clock.now() >= until
    assert clock.now() - until < timedelta(seconds=2)


@pytest.mark.parametrize("nonsense", ["soon", "nan", "inf", "", "Wed, 99 Foo"])
def test_retry_after_that_cannot_be_read_falls_back_to_our_own_pause(account, stub, clock, nonsense):
    stub.script = [(429, {"retry-after": nonsense}, b""), OK]

    account().get("/list", dict)
    assert len(clock.slept) == 1
    assert 0 < clock.slept[0] < 1


def test_a_longer_wait_than_the_run_allows_ends_it_and_says_when_to_return(account, stub, clock):
    stub.script = [(429, {"retry-after": "3600"}, b"")]

    with pytest.raises(RateLimited) as limited:
        account().get("/list", dict)
    assert limited.value.retry_at == NOW + timedelta(hours=1)
    assert clock.slept == []


# ---- failing for a while ----


def test_a_burst_of_5xx_is_retried_with_growing_pauses_and_then_passes(account, stub, clock):
    stub.script = [(500, {}, b""), (502, {}, b"<html>"), (503, {}, b""), (504, {}, b""), OK]

    assert account().get("/list", dict) == {"items": [1]}
    assert len(stub.requests) == 5
    assert all(after > before for before, after in zip(clock.slept, clock.slept[1:], strict=False))


def test_a_burst_that_does_not_end_costs_no_more_than_the_budget(account, stub, clock):
    stub.default = (500, {}, b"")

    with pytest.raises(ProviderDown) as down:
        account(budget=Budget(attempts=4)).get("/list", dict)
    assert len(stub.requests) == 4
    assert "ridgeline/stub" in str(down.value)
    assert "after 4 attempts" in str(down.value)


def test_the_pauses_of_one_call_never_exceed_its_wait_budget(account, stub, clock):
    stub.default = (503, {"retry-after": "40"}, b"")

    with pytest.raises(ProviderDown):
        account(budget=Budget(attempts=50, wait=100)).get("/list", dict)
    assert sum(clock.slept) <= 100
    assert len(stub.requests) == 3


def test_a_body_that_drips_is_cut_off_at_the_deadline(stub, real_http):
    stub.script = [(200, {}, b'{"items":[' + b"1," * 10, 0.05)]
    account = Account(
        real_http,
        connection="ridgeline/stub",
        base_url=stub.origin,
        auth=StaticAuth({}),
        budget=Budget(attempts=1, deadline=0.3),
    )
    started = time.monotonic()

    with pytest.raises(ProviderDown, match="longer than"):
        account.get("/list", dict)
    assert time.monotonic() - started < 2


def test_a_connection_that_breaks_in_mid_body_is_tried_again(account, stub):
    stub.script = [(200, {"content-length": "500"}, b'{"items":['), "reset", OK]

    assert account().get("/list", dict) == {"items": [1]}
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    "broken",
    [
        (200, {}, b'{"items":[1'),
        (200, {}, b""),
        (200, {"content-length": "500"}, b'{"items":['),
        (200, {"content-encoding": "gzip"}, b"this is not gzip"),
        (200, {"content-encoding": "gzip"}, gzip.compress(b'{"items":[1,2,3]}')[:-12]),
        "reset",
    ],
    ids=["truncated", "empty", "cut", "not gzip", "half gzip", "reset"],
)
def test_an_answer_that_stays_broken_is_an_outage_and_no_value(account, stub, broken):
    stub.script = [broken] * 3

    with pytest.raises(ProviderDown):
        account(budget=Budget(attempts=3)).get("/list", dict)
    assert len(stub.requests) == 3


def test_whole_json_of_a_new_shape_is_a_changed_contract_and_not_retried(account, stub):
    stub.script = [(200, {}, b'{"items":"none"}')]

    with pytest.raises(ContractChanged, match="/list"):
        account().get("/list", dict[str, list[int]])
    assert len(stub.requests) == 1


def test_a_body_over_the_cap_is_refused(account, stub):
    stub.script = [(200, {}, b'"' + b"x" * 300_000 + b'"')]

    with pytest.raises(ContractChanged, match="larger than"):
        account(budget=Budget(max_bytes=200_000)).get("/list", str)
    assert len(stub.requests) == 1


def test_a_small_body_that_inflates_over_the_cap_is_refused(account, stub):
    stub.script = [(200, {"content-encoding": "gzip"}, gzip.compress(b'"' + b"x" * 3_000_000 + b'"'))]

    with pytest.raises(ContractChanged, match="larger than"):
        account(budget=Budget(max_bytes=1_000_000)).get("/list", str)


# ---- where the key may go ----


def test_a_redirect_is_not_followed(account, stub):
    stub.script = [(302, {"location": f"{stub.origin}/elsewhere"}, b"")]

    with pytest.raises(Rejected, match="302"):
        account().get("/list", dict)
    assert [path for _, path, _, _ in stub.requests] == ["/list"]


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/list",
        "//evil.example/list",
        "@evil.example/list",
        ".evil.example/list",
        "evil.example/list",
        "ftp:list",
    ],
)
def test_a_link_to_another_host_is_refused(account, link):
    with pytest.raises(ContractChanged, match="another host"):
        account().own(link)


def test_own_links_are_accepted_whole_and_as_paths(account, stub):
    assert account().own(f"{stub.origin}/list?page=2") == f"{stub.origin}/list?page=2"
    assert account().own("/list?page=2") == f"{stub.origin}/list?page=2"


def test_another_port_or_scheme_of_the_same_host_is_another_host(account, stub):
    for link in (stub.origin.replace("http:", "https:"), "http://127.0.0.1:9/list"):
        with pytest.raises(ContractChanged):
            account().own(link)


# ---- writes ----


@pytest.mark.parametrize("failure", [(500, {}, b""), (503, {"retry-after": "1"}, b""), (429, {}, b""), "reset"])
def test_a_write_is_never_repeated(account, stub, clock, failure):
    stub.script = [failure, OK]

    with pytest.raises((ProviderDown, RateLimited)) as failed:
        account().request("POST", "/tasks", content=b"{}")
    assert len(stub.requests) == 1
    assert clock.slept == []
    if isinstance(failed.value, ProviderDown):
        assert "unknown whether" in str(failed.value)


def test_a_post_that_only_reads_is_retried(account, stub):
    stub.script = [(502, {}, b""), OK]

    assert account().post("/search", dict, json={"after": 0}) == {"items": [1]}
    assert [body for _, _, _, body in stub.requests] == [b'{"after":0}'] * 2


# ---- refused credentials ----


class Renewable:
    """Hands out token 1, 2, … ; each renewal is counted."""

    def __init__(self) -> None:
        self.number = 1
        self.renewals = 0

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer token-{self.number}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        assert refused == self.headers()
        self.number += 1
        self.renewals += 1
        return True


def test_a_401_is_renewed_once_and_the_same_page_is_asked_again(account, stub):
    auth = Renewable()
    stub.script = [OK, (401, {}, b""), OK]
    api = account(auth=auth)
    api.get("/list?page=1", dict)

    assert api.get("/list?page=2", dict) == {"items": [1]}
    assert [(path, headers["authorization"]) for _, path, headers, _ in stub.requests] == [
        ("/list?page=1", "Bearer token-1"),
        ("/list?page=2", "Bearer token-1"),
        ("/list?page=2", "Bearer token-2"),
    ]
    assert auth.renewals == 1


def test_a_second_401_stops_and_tells_a_person(account, stub, clock):
    auth = Renewable()
    stub.default = (401, {}, b"")

    with pytest.raises(CredentialError, match="ridgeline/stub"):
        account(auth=auth).get("/list", dict)
    assert auth.renewals == 1
    assert len(stub.requests) == 2
    assert clock.slept == []


def test_a_fixed_key_that_is_refused_is_not_tried_again(account, stub):
    stub.default = (401, {}, b"")

    with pytest.raises(CredentialError):
        account().get("/list", dict)
    assert len(stub.requests) == 1


# ---- quotas ----


def test_the_limiter_keeps_its_number_in_every_window(clock):
    limiter = Limiter([Limit(5, 1.0), Limit(12, 10.0)], clock)
    made = []
    for i in range(60):
        clock.sleep(limiter.take())
        made.append(clock.monotonic())
        if i % 7 == 0:
            clock.advance(0.13)

    for calls, seconds in ((5, 1.0), (12, 10.0)):
        for first, beyond in zip(made, made[calls:], strict=False):
            assert beyond - first >= seconds - 1e-9, f"more than {calls} calls within {seconds} s"
    assert made[-1] < 60  # and wastes no time: 60 calls at 12 in 10 s take 40 s


def test_connections_with_one_quota_key_share_the_limit_and_others_do_not(account, stub, clock):
    stub.default = OK
    quota = {"limits": [Limit(2, 10.0)], "quota_key": "agency-account"}
    first, second = account(connection="a/stub", **quota), account(connection="b/stub", **quota)
    other = account(connection="c/stub", limits=[Limit(2, 10.0)], quota_key="another-account")

    for api in (first, second, other, other):
        api.get("/list", dict)
    assert clock.slept == []
    second.get("/list", dict)
    assert clock.slept == [10.0]


def test_threads_together_stay_within_the_limit(stub, real_http):
    stub.default = OK
    at: list[float] = []

    def script(*_: Any) -> tuple[int, dict[str, str], bytes]:
        at.append(time.monotonic())
        return OK

    stub.script = script
    api = Account(real_http, connection="a/stub", base_url=stub.origin, auth=StaticAuth({}), limits=[Limit(4, 0.4)])
    threads = [threading.Thread(target=api.get, args=("/list", dict)) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    at.sort()
    assert len(at) == 9
    # 50 ms of grace: the clock that counts is ours, the server's sees our calls a little later or sooner
    assert all(beyond - first >= 0.35 for first, beyond in zip(at, at[4:], strict=False))


# ---- what may be seen ----


def test_logs_and_errors_hold_no_query_no_body_and_no_key(account, stub, caplog):
    caplog.set_level(logging.DEBUG)
    personal = "+14045550123"
    stub.script = [
        (500, {"set-cookie": "session=s3cr3t-cookie"}, json.dumps({"phone": personal}).encode()),
        (200, {}, json.dumps({"phone": personal}).encode()),
        (400, {}, f"no such customer: {personal}".encode()),
    ]
    api = account(auth=StaticAuth({**basic("AC1", KEY), "X-Key": KEY}))
    api.get("/list", dict, params={"phone": personal, "key": KEY})
    with pytest.raises(Rejected) as refused:
        api.request("POST", "/tasks", params={"phone": personal}, form=[("To", personal)])

    seen = caplog.text + str(refused.value) + repr(refused.value)
    assert "/list" in seen  # it does log
    for hidden in (personal, personal[1:], KEY, "s3cr3t-cookie", basic("AC1", KEY)["Authorization"].split()[1]):
        assert hidden not in seen


def test_a_changed_shape_is_reported_without_the_value(account, stub):
    stub.script = [(200, {}, b'{"phone":"+14045550123"}')]

    with pytest.raises(ContractChanged) as changed:
        account().get("/list", dict[str, int], params={"q": "+14045550123"})
    assert "4045550123" not in str(changed.value)


def test_a_secret_never_prints_itself():
    secret = Secret(KEY)

    for shown in (str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{[secret]}", f"{{'key': {secret}}}"):
        assert KEY not in shown
    assert secret.reveal() == KEY
    assert not Secret("")


def test_repeated_form_keys_and_plus_signs_arrive_as_meant(account, stub):
    stub.script = [OK]
    account().request("POST", "/send", form=[("To", "+14045550123"), ("MediaUrl", "a"), ("MediaUrl", "b")])

    _, _, headers, body = stub.requests[0]
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert body == b"To=%2B14045550123&MediaUrl=a&MediaUrl=b"


def test_the_url_of_a_failed_connection_is_not_in_the_error(http):
    api = Account(
        http, connection="ridgeline/stub", base_url="http://127.0.0.1:9", auth=StaticAuth({}), budget=Budget(attempts=2)
    )
    with pytest.raises(ProviderDown) as down:
        api.get("/list", dict, params={"phone": "4045550123"})
    assert "4045550123" not in str(down.value)
    assert not isinstance(down.value.__cause__, httpx.HTTPError)
