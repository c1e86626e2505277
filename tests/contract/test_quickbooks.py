"""QuickBooks: the promises of its contract, over the sandbox on a socket, over a scripted server, and through staging."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import httpx
import msgspec
import pytest

from connectors.base import (
    ContractChanged,
    ContractError,
    CredentialError,
    Page,
    ProviderDown,
    RateLimited,
    Record,
    Secret,
    SignatureError,
    WebhookRequest,
    absent,
)
from connectors.http import Http
from connectors.oauth import MemoryVault, Tokens
from connectors.quickbooks import QuickBooks
from connectors.quickbooks.progress import Ids
from connectors.quickbooks.wire import literal, read_row
from connectors.sandbox.facts import Address, Client, Customer, Estimate, Invoice, Payment, Person, Town
from connectors.sandbox.provider import Fault, World
from connectors.sandbox.quickbooks import SandboxQuickBooks
from tests.conftest import NOW, FakeClock, Served, Stub
from tests.warehouse import Landed, staged

DAY = timedelta(days=1)
ACME, OTHER = "acme-plumbing", "other-hvac"
STREAMS = ("customers", "estimates", "invoices", "payments", "sales_receipts", "credit_memos", "refund_receipts")


def client(n: int, client_id: str, zone: str) -> Client:
    return Client(
        n, client_id, client_id.title(), "plumbing", zone, "Mesa", "AZ", ("85201",), "480", f"{client_id}.example",
        "+14805550100", "+14805550101", (), (), NOW - 400 * DAY,
    )  # fmt: skip


def small_town(*, end: datetime = NOW) -> Town:
    """Two clients; the first has a customer with a quote, an invoice for it, and a payment of part of it."""
    town = Town(7, end - 90 * DAY, end, [client(1, ACME, "America/Los_Angeles"), client(2, OTHER, "America/New_York")])
    home = Address("12 Oak St", "Mesa", "AZ", "85201")
    quoted = datetime(2026, 2, 10, 3, 30, tzinfo=UTC)  # the evening of the 9th in Los Angeles
    paid = quoted + 5 * DAY
    fact = (1, ACME, "p1", "e1")
    email, phone, lapses = "ruth@example.com", "(480) 555-0144", date(2026, 3, 10)
    town.people = [Person(1, "p1", ACME, "Ruth", "Alvarez", ["+14805550144"], [email], home, "h1")]
    town.customers = [Customer(*fact, quoted, quoted, "Ruth Alvarez", "Ruth", "Alvarez", email, phone, home)]
    town.estimates = [
        Estimate(*fact, quoted, quoted, 1, "E1", "Heater", 40_000, "Closed", quoted, quoted, lapses),
    ]
    town.invoices = [Invoice(*fact, quoted + DAY, paid, 1, "1001", "Heater", 40_000, 15_000, 1, lapses, [1])]
    town.payments = [Payment(*fact, paid, paid, 1, 25_000, [(1, 25_000)], "2201")]
    return town


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve(small_town(), SandboxQuickBooks, now=NOW)


@pytest.fixture
def sandbox(served: Served) -> SandboxQuickBooks:
    provider = served.providers["quickbooks"]
    assert isinstance(provider, SandboxQuickBooks)
    return provider


@pytest.fixture
def connect(served: Served, sandbox: SandboxQuickBooks, http: Http) -> Callable[..., QuickBooks]:
    vaults = {ACME: MemoryVault(), OTHER: MemoryVault()}

    def make(client_id: str = ACME, vault: MemoryVault | None = None, **options: Any) -> QuickBooks:
        root = served.root("quickbooks")
        account = next(one for one in served.town.clients if one.client_id == client_id)
        urls = {"base_url": root, "token_url": f"{root}/oauth2/v1/tokens/bearer"}
        values = QuickBooks.Options(**{**sandbox.connection(account, root), **urls, **options})
        return QuickBooks(values, connection=f"{client_id}/quickbooks", http=http, vault=vault or vaults[client_id])

    return make


def pulled(connector: QuickBooks, cursor: Any = None, now: datetime = NOW) -> tuple[list[Page], Any]:
    """All pages, and the last cursor as it would be stored."""
    pages = list(connector.pull("changes", cursor, now=now))
    cursors = [page.cursor for page in pages if page.cursor is not None]
    return pages, msgspec.json.decode(msgspec.json.encode(cursors[-1])) if cursors else cursor


def until_refused(connector: QuickBooks, error: type[Exception]) -> tuple[list[Page], Exception]:
    """The pages that came before the pull was given up."""
    pages: list[Page] = []
    try:
        for page in connector.pull("changes", None, now=NOW):
            pages.append(page)
    except error as caught:
        return pages, caught
    raise AssertionError("the pull did not stop")


def records(pages: list[Page], stream: str) -> list[Record]:
    return [record for page in pages if page.stream == stream for record in page.records]


def payloads(pages: list[Page], stream: str) -> dict[str, Any]:
    """The last payload of each record."""
    return {record.record_id: msgspec.json.decode(record.payload) for record in records(pages, stream)}


def pass_time(served: Served, clock: FakeClock, step: timedelta) -> datetime:
    clock.advance(step.total_seconds())
    served.world.set_now(clock.now())
    return clock.now()


def many_invoices(sandbox: SandboxQuickBooks, count: int, *, step: timedelta = timedelta(seconds=1)) -> list[str]:
    start = NOW - 20 * DAY
    return [
        sandbox.add(ACME, "Invoice", {"Id": str(5000 + i), "TotalAmt": 10.0, "Balance": 10.0}, at=start + i * step)
        for i in range(count)
    ]


# ---- the credential ----


def test_case_01_a_rotated_token_saved_before_a_crash_is_used_by_the_next_run(connect: Any, sandbox: Any) -> None:
    class Killed(BaseException):
        pass

    class KillsAfterSave(MemoryVault):
        def save(self, tokens: Tokens) -> None:
            super().save(tokens)
            raise Killed

    sandbox.tokens.rotation = "strict"
    vault = KillsAfterSave()
    with pytest.raises(Killed):
        pulled(connect(vault=vault))
    assert sandbox.tokens.refreshes == 1
    ended = Tokens("", NOW, vault.tokens.refresh_token, vault.tokens.previous_refresh_token, vault.tokens.seed)
    pages, _ = pulled(connect(vault=MemoryVault(ended)))
    assert len(records(pages, "invoices")) == 1
    assert sandbox.tokens.refreshes == 2


def test_case_02_two_workers_with_an_expired_token_make_one_refresh(connect: Any, sandbox: Any) -> None:
    sandbox.tokens.rotation = "strict"
    vault, barrier, answers = MemoryVault(), threading.Barrier(2), []

    def worker() -> None:
        connector = connect(vault=vault)
        barrier.wait()
        answers.append(connector.check().ok)

    threads = [threading.Thread(target=worker) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True, True]
    assert sandbox.tokens.refreshes == 1


def test_case_03_a_newer_token_in_the_store_is_tried_after_invalid_grant(connect: Any, sandbox: Any) -> None:
    sandbox.tokens.rotation = "strict"
    stored = MemoryVault()
    assert connect(vault=stored).check().ok
    newest, dead = stored.tokens, "RT1-long-dead"

    class ElsewhereRotated(MemoryVault):
        """Hands out the old pair first; by the second look another process has stored the newest."""

        looks = 0

        def load(self) -> Tokens | None:
            self.looks += 1
            return Tokens("", NOW, newest.refresh_token if self.looks > 3 else dead, "", newest.seed)

    vault = ElsewhereRotated()
    assert connect(vault=vault).check().ok
    assert vault.tokens.previous_refresh_token == newest.refresh_token


def test_case_04_a_revoked_connection_asks_for_a_person_and_leaves_others_alone(connect: Any, sandbox: Any) -> None:
    connector = connect()
    assert connector.check().ok
    sandbox.tokens.revoke_realm(connector.options.realm_id)
    with pytest.raises(CredentialError) as caught:
        pulled(connector)
    calls = sandbox.calls.total()
    health = connector.check()
    assert "Reconnect" in caught.value.fix
    assert not health.ok
    assert "Reconnect" in health.fix
    assert sandbox.calls.total() == calls, "no call of the API with a dead token"
    assert connect(OTHER).check().ok


def test_case_04_a_reconnect_by_a_person_starts_again(connect: Any, sandbox: Any) -> None:
    vault = MemoryVault()
    connector = connect(vault=vault)
    assert connector.check().ok
    sandbox.tokens.revoke_realm(connector.options.realm_id)
    assert not connect(vault=vault).check().ok
    fresh = sandbox.tokens.authorise(connector.options.realm_id)["refresh_token"]
    assert connect(vault=vault, refresh_token=Secret(fresh)).check().ok


def test_case_05_a_token_with_50_minutes_left_makes_no_token_call(connect: Any, sandbox: Any, clock: FakeClock) -> None:
    vault = MemoryVault()
    assert connect(vault=vault).check().ok
    clock.advance(10 * 60)
    pulled(connect(vault=vault), now=clock.now())
    assert sandbox.tokens.refreshes == 1


def test_an_access_token_that_ends_early_is_renewed_and_the_call_repeated(
    connect: Any, sandbox: Any, served: Served
) -> None:
    connector = connect()
    served.world.faults.append(Fault("revoked_token", path="/query", times=1, after=2))
    pages, _ = pulled(connector)
    assert len(records(pages, "invoices")) == 1
    assert sandbox.tokens.refreshes == 2


def test_a_wrong_app_secret_is_told_from_a_dead_token(connect: Any) -> None:
    health = connect(client_secret=Secret("wrong")).check()
    assert not health.ok
    assert "client_secret" in health.fix


def test_another_companys_token_is_refused_in_words(connect: Any, sandbox: Any, served: Served) -> None:
    health = connect(realm_id=sandbox.realm(served.town.clients[1])).check()
    assert not health.ok
    assert "3100" in health.message


def test_check_names_the_company(connect: Any) -> None:
    health = connect().check()
    assert health.ok
    assert health.details == {"company": "Acme-Plumbing", "webhooks": True}
    assert "Webhooks are off" in connect(webhook_token=Secret("")).check().message


# ---- answers that are not what they seem ----


def scripted(stub: Stub, http: Http, answer: Callable[[str], tuple[int, bytes]]) -> QuickBooks:
    def script(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/token"):
            return 200, {}, b'{"access_token":"a","refresh_token":"r","expires_in":3600}'
        status, content = answer(path)
        return status, {"intuit_tid": "1-abc"}, content

    stub.script = script
    urls = {"base_url": stub.origin, "token_url": f"{stub.origin}/token"}
    values = QuickBooks.Options("123", "app", Secret("key"), Secret("r0"), **urls)
    return QuickBooks(values, connection="acme/quickbooks", http=http)


FAULT = b'{"Fault":{"Error":[{"Message":"Ruth Alvarez","code":"%s"}],"type":"%s"},"time":"2026-03-02T09:00:00-08:00"}'


def test_case_06_a_fault_with_http_200_is_an_error_and_not_zero_rows(stub: Stub, http: Http) -> None:
    connector = scripted(stub, http, lambda path: (200, FAULT % (b"4000", b"ValidationFault")))
    pages, error = until_refused(connector, ContractError)
    assert not any(page.cursor and page.cursor["entities"]["Invoice"]["listing"] is None for page in pages)
    assert "invoices (code 4000)" in str(error)
    assert "Ruth" not in str(error)


def test_case_06_the_gateways_lower_case_fault_is_an_error(stub: Stub, http: Http) -> None:
    body = b'{"warnings":null,"fault":{"error":[{"message":"m","detail":"d","code":"3200"}],"type":"AUTHENTICATION"}}'
    health = scripted(stub, http, lambda path: (401, body)).check()
    assert not health.ok
    assert "3200" in health.message
    assert "1-abc" in health.message, "support asks for the tid"


def test_case_06_an_html_page_is_not_an_empty_answer(stub: Stub, http: Http) -> None:
    connector = scripted(stub, http, lambda path: (200, b"<html>maintenance</html>"))
    with pytest.raises(ProviderDown):
        pulled(connector)


def test_case_06_rows_under_another_name_are_not_an_empty_answer(stub: Stub, http: Http) -> None:
    body = b'{"QueryResponse":{"customer":[{"Id":"1"}],"startPosition":1,"maxResults":1},"time":""}'
    with pytest.raises(ContractChanged):
        pulled(scripted(stub, http, lambda path: (200, body)))


def test_an_ended_subscription_is_for_a_person(stub: Stub, http: Http) -> None:
    health = scripted(stub, http, lambda path: (403, FAULT % (b"6190", b"ValidationFault"))).check()
    assert not health.ok
    assert "subscription" in health.message


def test_case_07_after_429_it_waits_a_minute_and_goes_on_in_the_same_place(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    ids = many_invoices(sandbox, 1500)
    served.world.faults.append(Fault("429", path="/query", times=1, after=3))
    pages, _ = pulled(connect())
    assert set(ids) <= {record.record_id for record in records(pages, "invoices")}
    assert any(pause >= 60 for pause in clock.slept)
    assert sandbox.calls["query"] == 8 + 7, "seven lists, one with two pages, and seven counts: nothing is read twice"


def test_case_08_an_empty_company_is_zero_rows(connect: Any) -> None:
    pages, cursor = pulled(connect(OTHER))
    assert sum(len(page.records) for page in pages) == 0
    assert all(table["listing"] is None for table in cursor["entities"].values())


def test_a_record_whose_times_cannot_be_read_is_kept(stub: Stub, http: Http) -> None:
    row = b'{"Id":7,"MetaData":{"LastUpdatedTime":"yesterday"}}'

    def answer(path: str) -> tuple[int, bytes]:
        if "/cdc" in path:
            return 200, b'{"CDCResponse":[{"QueryResponse":[{}]}],"time":""}'
        if "count" in path or "FROM+Invoice" not in path:
            return 200, b'{"QueryResponse":{},"time":""}'
        return 200, b'{"QueryResponse":{"Invoice":[%s, {"Total":1}],"maxResults":2},"time":""}' % row

    pages, _ = pulled(scripted(stub, http, answer))
    kept = records(pages, "invoices")
    assert (kept[0].record_id, bytes(kept[0].payload), kept[0].updated_at) == ("7", row, None)
    assert kept[1].record_id.startswith("sha256:")


# ---- the first load ----


def test_every_stream_of_the_town_arrives_with_exact_payloads_and_instants(
    connect: Any, sandbox: SandboxQuickBooks
) -> None:
    pages, _ = pulled(connect())
    expected = {(stream, record_id) for client_id, stream, record_id, _ in sandbox.records() if client_id == ACME}
    assert {(page.stream, record.record_id) for page in pages for record in page.records} == expected
    row = next(iter(sandbox.books(ACME).shelves["Invoice"].rows.values()))
    (invoice,) = records(pages, "invoices")
    assert bytes(invoice.payload) == row.body
    assert b"-08:00" in row.body, "the company's own offset is on the wire"
    assert (invoice.occurred_at, invoice.updated_at) == (
        datetime(2026, 2, 11, 3, 30, tzinfo=UTC),
        datetime(2026, 2, 15, 3, 30, tzinfo=UTC),
    )


def test_case_09_2350_invoices_arrive_once_in_pages_of_at_most_1000(connect: Any, sandbox: Any) -> None:
    ids = many_invoices(sandbox, 2350)
    pages, _ = pulled(connect())
    times = Counter(record.record_id for record in records(pages, "invoices"))
    assert all(times[record_id] == 1 for record_id in ids)
    assert max(len(page.records) for page in pages) <= 1000
    assert sandbox.calls["query"] == 7 + 2 + 7


def test_case_10_an_invoice_edited_between_pages_arrives_in_its_newest_version(connect: Any, sandbox: Any) -> None:
    ids = many_invoices(sandbox, 1100)
    pages = []
    for page in connect().pull("changes", None, now=NOW):
        pages.append(page)
        if page.stream == "invoices" and len(pages) and len(page.records) == 1000:
            sandbox.mutate(ACME, "Invoice", ids[3], TotalAmt=99.0)
    got = payloads(pages, "invoices")
    assert set(ids) <= set(got)
    assert got[ids[3]]["TotalAmt"] == 99.0


def test_case_11_1500_rows_of_one_second_are_all_loaded(connect: Any, sandbox: Any) -> None:
    ids = many_invoices(sandbox, 1500, step=timedelta(0))
    pages, _ = pulled(connect())
    assert set(ids) <= set(payloads(pages, "invoices"))


def test_case_11_even_if_the_list_shifts_under_the_reader(connect: Any, sandbox: Any, served: Served) -> None:
    ids = many_invoices(sandbox, 2500, step=timedelta(0))
    served.world.faults.append(Fault("shifted_pages", path="/query", times=1))
    pages, cursor = pulled(connect())
    assert set(ids) <= set(payloads(pages, "invoices"))
    assert cursor["entities"]["Invoice"]["listing"] is None


def test_a_first_load_cut_off_goes_on_where_it_was(connect: Any, sandbox: Any, served: Served) -> None:
    ids = many_invoices(sandbox, 2350)
    served.world.faults.append(Fault("500", path="/query", times=None, after=4))
    kept, _ = until_refused(connect(), ProviderDown)
    served.world.faults.clear()
    saved = msgspec.json.decode(msgspec.json.encode(next(page.cursor for page in reversed(kept) if page.cursor)))
    rest, cursor = pulled(connect(), saved)
    assert set(ids) <= set(payloads(kept, "invoices")) | set(payloads(rest, "invoices"))
    assert len(records(rest, "customers")) == 0, "a list that was complete is not read again"
    assert 0 < len(records(rest, "invoices")) < 2350
    assert len(Ids(cursor["entities"]["Invoice"]["ids"])) == 2351


def test_a_row_that_breaks_its_page_is_isolated_and_the_others_arrive(stub: Stub, http: Http) -> None:
    ids, bad = [str(i) for i in range(1, 13)], "7"

    def answer(path: str) -> tuple[int, bytes]:
        if "/cdc" in path:
            return 200, b'{"CDCResponse":[{"QueryResponse":[{}]}],"time":""}'
        if "count" in path or "FROM+Invoice" not in path:
            return 200, b'{"QueryResponse":{},"time":""}'
        after = re.search(r"2026-03-01T00%3A00%3A(\d+)", path)
        start, size = (int(re.search(name + r"\+(\d+)", path)[1]) for name in ("STARTPOSITION", "MAXRESULTS"))
        page = [one for one in ids if not after or int(one) >= int(after[1])][start - 1 : start - 1 + size]
        if bad in page:
            return 500, FAULT % (b"10000", b"SystemFault")
        rows = [{"Id": one, "MetaData": {"LastUpdatedTime": f"2026-03-01T00:00:{int(one):02d}Z"}} for one in page]
        return 200, msgspec.json.encode({"QueryResponse": {"Invoice": rows} if rows else {}, "time": ""})

    pages, error = until_refused(scripted(stub, http, answer), ContractError)
    assert set(payloads(pages, "invoices")) == set(ids) - {bad}
    assert "invoices (it fails on 1 of the rows)" in str(error)


def test_a_delete_during_the_first_load_is_told_by_capture(connect: Any, sandbox: Any) -> None:
    ids = many_invoices(sandbox, 20)
    pages = []
    for page in connect().pull("changes", None, now=NOW):
        pages.append(page)
        if page.stream == "payments" and page.cursor and ids:
            sandbox.delete(ACME, "Invoice", ids.pop())
    assert payloads(pages, "invoices")["5019"]["status"] == "Deleted"


def test_an_entity_the_plan_does_not_have_stops_only_itself(stub: Stub, http: Http) -> None:
    def answer(path: str) -> tuple[int, bytes]:
        if "FROM+RefundReceipt" in path:
            return 400, FAULT % (b"5020", b"ValidationFault")
        if "/cdc" in path:
            assert "RefundReceipt" not in path
            return 200, b'{"CDCResponse":[{"QueryResponse":[{}]}],"time":"2026-03-02T09:00:00-08:00"}'
        entity = path.split("FROM+")[1].split("+")[0].encode()
        rows = b"" if b"count" in path.encode() else b'"%s":[{"Id":"1"}],"maxResults":1' % entity
        return 200, b'{"QueryResponse":{%s},"time":"2026-03-02T09:00:00-08:00"}' % rows

    pages, error = until_refused(scripted(stub, http, answer), ContractError)
    assert "refund_receipts (code 5020)" in str(error)
    assert {page.stream for page in pages if page.records} == set(STREAMS) - {"refund_receipts"}
    assert pages[-1].cursor["entities"]["RefundReceipt"]["listing"] is not None


# ---- what changed ----


def test_a_poll_without_news_is_one_call(connect: Any, sandbox: Any, served: Served, clock: FakeClock) -> None:
    _, cursor = pulled(connect())
    sandbox.calls.clear()
    now = pass_time(served, clock, 2 * DAY)
    pages, _ = pulled(connect(), cursor, now)
    assert sum(len(page.records) for page in pages) == 0
    assert sandbox.calls == {"cdc": 1}


def test_changes_of_all_streams_come_with_one_call(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    _, cursor = pulled(connect())
    sandbox.calls.clear()
    now = pass_time(served, clock, timedelta(hours=1))
    sandbox.mutate(ACME, "Customer", "11", Balance=5.0)
    new = sandbox.add(ACME, "SalesReceipt", {"TotalAmt": 80.0})
    pages, _ = pulled(connect(), cursor, now)
    assert payloads(pages, "customers")["11"]["Balance"] == 5.0
    assert list(payloads(pages, "sales_receipts")) == [new]
    assert sandbox.calls == {"cdc": 1}


def test_case_12_a_deleted_invoice_comes_as_quickbooks_own_stub(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    _, cursor = pulled(connect())
    now = pass_time(served, clock, timedelta(hours=1))
    sandbox.delete(ACME, "Invoice", "13")
    pages, cursor = pulled(connect(), cursor, now)
    (stub,) = records(pages, "invoices")
    assert msgspec.json.decode(stub.payload)["status"] == "Deleted"
    assert (stub.record_id, stub.updated_at, stub.absent) == ("13", now.replace(microsecond=0), False)
    assert len(Ids(cursor["entities"]["Invoice"]["ids"])) == 0
    reads = sandbox.calls["invoice"]
    pulled(connect(), cursor, pass_time(served, clock, timedelta(hours=1)))
    assert (reads, sandbox.calls["invoice"]) == (1, 1), "a delete is looked up once"


def test_case_12_a_false_delete_is_found_out(stub: Stub, http: Http, clock: FakeClock) -> None:
    alive = b'{"Id":"33","TotalAmt":5,"MetaData":{"LastUpdatedTime":"2026-03-02T08:59:00-08:00"}}'
    told = b'{"status":"Deleted","Id":"33","MetaData":{"LastUpdatedTime":"2026-03-02T08:59:00-08:00"}}'

    def answer(path: str) -> tuple[int, bytes]:
        if "/cdc" in path:
            body = b'{"CDCResponse":[{"QueryResponse":[{"Invoice":[%s]},{}]}],"time":"2026-03-02T09:00:00-08:00"}'
            return 200, body % told
        if "/invoice/33" in path:
            return 200, b'{"Invoice":%s,"time":""}' % alive
        if "FROM+Invoice" in path and "count" not in path:
            return 200, b'{"QueryResponse":{"Invoice":[{"Id":"33"}],"maxResults":1},"time":"2026-03-02T09:00:00-08:00"}'
        return 200, b'{"QueryResponse":{},"time":"2026-03-02T09:00:00-08:00"}'

    pages, _ = pulled(scripted(stub, http, answer))
    assert bytes(records(pages, "invoices")[-1].payload) == alive


def test_case_13_a_full_capture_answer_is_asked_for_again_entity_by_entity(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    _, cursor = pulled(connect())
    now = pass_time(served, clock, timedelta(hours=1))
    for i in range(700):
        sandbox.add(ACME, "Invoice", {"Id": str(5000 + i)})
        sandbox.add(ACME, "Payment", {"Id": str(5000 + i)})
    sandbox.calls.clear()
    pages, _ = pulled(connect(), cursor, now)
    assert len(payloads(pages, "invoices")) == 700
    assert len(payloads(pages, "payments")) == 700
    assert sandbox.calls == {"cdc": 8}


def test_case_13_an_entity_too_full_for_capture_is_listed(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    ids = many_invoices(sandbox, 30)
    _, cursor = pulled(connect())
    now = pass_time(served, clock, timedelta(hours=1))
    added = [sandbox.add(ACME, "Invoice", {"Id": str(9000 + i)}) for i in range(1300)]
    sandbox.delete(ACME, "Invoice", ids[0])
    pages, cursor = pulled(connect(), cursor, now)
    got = {record.record_id: record for record in records(pages, "invoices")}
    assert set(added) <= set(got)
    assert got[ids[0]].absent or b"Deleted" in bytes(got[ids[0]].payload)
    assert len(Ids(cursor["entities"]["Invoice"]["ids"])) == 1 + 29 + 1300


def test_case_14_after_31_days_everything_is_listed_and_a_delete_is_found(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    ids = many_invoices(sandbox, 5)
    vault = MemoryVault()
    _, cursor = pulled(connect(vault=vault))
    sandbox.delete(ACME, "Invoice", ids[2], at=NOW + timedelta(hours=3))
    new = sandbox.add(ACME, "Invoice", {"TotalAmt": 1.0}, at=NOW + timedelta(hours=3))  # so a count alone sees nothing
    now = pass_time(served, clock, 31 * DAY)
    fresh = sandbox.tokens.authorise(sandbox.realm(served.town.clients[0]))["refresh_token"]
    pages, cursor = pulled(connect(vault=vault, refresh_token=Secret(fresh)), cursor, now)
    gone = [record for record in records(pages, "invoices") if record.absent]
    assert [(record.record_id, record.updated_at) for record in gone] == [(ids[2], now)]
    assert new in payloads(pages, "invoices")
    assert len(Ids(cursor["entities"]["Invoice"]["ids"])) == 6
    again, _ = pulled(connect(vault=vault, refresh_token=Secret(fresh)), cursor, now)
    assert not records(again, "invoices"), "the next poll is a plain one again"


def test_an_idle_company_never_counts_as_a_gap(connect: Any, sandbox: Any, served: Served, clock: FakeClock) -> None:
    vault = MemoryVault()
    _, cursor = pulled(connect(vault=vault))
    for _ in range(3):
        now = pass_time(served, clock, 20 * DAY)
        sandbox.calls.clear()
        pages, cursor = pulled(connect(vault=vault), cursor, now)
        assert not any(page.records for page in pages)
    assert sandbox.calls == {"cdc": 1, "query": 7}, "one poll and the weekly count"


def test_the_weekly_count_finds_a_delete_that_capture_never_told(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    ids = many_invoices(sandbox, 5)
    _, cursor = pulled(connect())
    sandbox.delete(ACME, "Invoice", ids[1], at=NOW - 25 * DAY)  # as if capture had lost it
    now = pass_time(served, clock, 8 * DAY)
    pages, _ = pulled(connect(), cursor, now)
    assert [record.record_id for record in records(pages, "invoices") if record.absent] == [ids[1]]


def test_case_24_an_inactive_customer_is_listed(connect: Any, sandbox: Any) -> None:
    row_id = sandbox.add(ACME, "Customer", {"DisplayName": "Gone (deleted)", "Active": False})
    pages, _ = pulled(connect())
    assert payloads(pages, "customers")[row_id]["Active"] is False


def test_case_26_near_the_monthly_budget_polls_go_down_to_one_a_day(
    connect: Any, sandbox: Any, served: Served, clock: FakeClock
) -> None:
    _, cursor = pulled(connect(monthly_call_budget=17))
    assert (cursor["month"], cursor["calls"]) == ("2026-03", 15)
    sandbox.calls.clear()
    now = pass_time(served, clock, DAY)
    _, cursor = pulled(connect(monthly_call_budget=17), cursor, now)
    assert cursor["calls"] == 16
    sandbox.calls.clear()
    now = pass_time(served, clock, timedelta(hours=1))
    with pytest.raises(RateLimited, match="16 of this month's 17") as slowed:
        pulled(connect(monthly_call_budget=17), cursor, now)
    assert slowed.value.retry_at == now + DAY - timedelta(hours=1)
    now = pass_time(served, clock, DAY)
    _, cursor = pulled(connect(monthly_call_budget=17), cursor, now)
    assert sandbox.calls == {"cdc": 1}
    now = pass_time(served, clock, DAY)
    with pytest.raises(RateLimited) as stopped:
        pulled(connect(monthly_call_budget=17), cursor, now)
    assert stopped.value.retry_at == datetime(2026, 4, 1, tzinfo=UTC)
    now = pass_time(served, clock, datetime(2026, 4, 1, 1, tzinfo=UTC) - now)
    _, cursor = pulled(connect(monthly_call_budget=17), cursor, now)
    assert (cursor["month"], cursor["calls"] < 17) == ("2026-04", True), "a new month, a new budget"


def test_case_23_a_quote_in_a_name_survives_the_query_and_the_url(connect: Any, sandbox: Any) -> None:
    name = "Pat O'Neil + Söhne"
    row_id = sandbox.add(ACME, "Customer", {"DisplayName": name, "Active": True})
    assert literal("O'Neil") == r"'O\'Neil'"
    rows, _ = connect().company.query("Customer", [f"DisplayName = {literal(name)}"])
    assert [row.record.record_id for row in rows] == [row_id]


# ---- webhooks ----


def request(body: bytes, headers: Any) -> WebhookRequest:
    return WebhookRequest(f"https://desk.example/webhooks/{ACME}/quickbooks", dict(headers), body, NOW)


CHANGE = ("Invoice", "13", "Update", datetime(2026, 3, 2, 16, 14, 21, 123456, tzinfo=UTC))


def test_case_21_one_change_told_three_times_in_both_formats_is_one_reread(connect: Any, sandbox: Any) -> None:
    connector = connect()
    told = [request(*sandbox.webhook(ACME, [CHANGE], cloud_events=new)) for new in (False, True, False)]
    assert len({connector.accept(one).dedupe_key for one in told}) == 1
    for one in told:
        assert connector.receive(one).refetch == [("invoices", "13")]
    twice = request(*sandbox.webhook(ACME, [CHANGE, CHANGE]))
    assert connector.receive(twice).refetch == [("invoices", "13")]
    later = request(*sandbox.webhook(ACME, [(*CHANGE[:3], CHANGE[3] + timedelta(seconds=2))]))
    assert connector.accept(later).dedupe_key != connector.accept(told[0]).dedupe_key


@pytest.mark.parametrize("new", [False, True])
def test_case_22_a_webhook_about_another_company_is_kept_aside(
    connect: Any, sandbox: Any, served: Served, new: bool
) -> None:
    foreign = sandbox.realm(served.town.clients[1])
    received = connect().receive(request(*sandbox.webhook(ACME, [CHANGE], cloud_events=new, realm=foreign)))
    assert not received.refetch
    assert not received.records
    ((reason, payload),) = received.quarantine
    assert "another company" in reason
    assert foreign.encode() in payload


def test_a_webhook_with_a_wrong_signature_is_refused(connect: Any, sandbox: Any) -> None:
    body, headers = sandbox.webhook(ACME, [CHANGE])
    connect().accept(request(body, headers))
    for bad_body, bad_headers in ((body + b" ", headers), (body, {}), (body, {"intuit-signature": "é"})):
        with pytest.raises(SignatureError):
            connect().accept(request(bad_body, bad_headers))
    with pytest.raises(SignatureError):
        connect(webhook_token=Secret("")).accept(request(body, headers))


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"{}",
        b'{"eventNotifications":[{"realmId":1}]}',
        b'[{"type":"x"}]',
        b'[{"type":"qbo.vendor.created.v1","intuitentityid":"1","intuitaccountid":"REALM"}]',
    ],
)
def test_what_a_webhook_says_in_an_unknown_way_is_kept(connect: Any, body: bytes) -> None:
    connector = connect()
    body = body.replace(b"REALM", connector.options.realm_id.encode())
    received = connector.receive(request(body, {}))
    assert len(received.quarantine) == 1
    assert not received.refetch


def test_a_merge_rereads_both_customers(connect: Any) -> None:
    connector = connect()
    entity = {"name": "Customer", "id": "11", "operation": "Merge", "lastUpdated": "2026-03-02T17:14:21Z"}
    entity["deletedId"] = "21"
    notification = {"realmId": connector.options.realm_id, "dataChangeEvent": {"entities": [entity]}}
    body = msgspec.json.encode({"eventNotifications": [notification]})
    assert connector.receive(request(body, {})).refetch == [("customers", "11"), ("customers", "21")]


def test_a_reread_brings_the_record_as_it_is_or_says_that_it_is_gone(connect: Any, sandbox: Any) -> None:
    ids = many_invoices(sandbox, 150)
    sandbox.delete(ACME, "Invoice", ids[7])
    sandbox.calls.clear()
    pages = list(connect().refetch("invoices", ids, now=NOW))
    got = {record.record_id: record for page in pages for record in page.records}
    assert set(got) == set(ids)
    assert [record_id for record_id, record in got.items() if record.absent] == [ids[7]]
    assert sandbox.calls == {"query": 2, "invoice": 1}
    (one,) = list(connect().refetch("invoices", ["13"], now=NOW))
    assert msgspec.json.decode(one.records[0].payload)["DocNumber"] == "1001"


def test_every_webhook_of_the_towns_history_is_accepted_and_understood(connect: Any, sandbox: Any) -> None:
    connector, hints, formats = connect(), set(), set()
    for push in sandbox.pushes():
        told = request(push.body, push.sign("https://desk.example"))
        connector.accept(told)
        received = connector.receive(told)
        assert not received.quarantine
        hints.update(received.refetch)
        formats.add(push.body[:1])
    assert hints == {(stream, record_id) for client_id, stream, record_id, _ in sandbox.records() if client_id == ACME}
    assert formats <= {b"[", b"{"}


# ---- staging ----

LATER = NOW + timedelta(hours=1)
META = {"CreateTime": "2026-02-20T22:00:00-08:00", "LastUpdatedTime": "2026-02-20T22:00:00-08:00"}
EDITED = {**META, "LastUpdatedTime": "2026-03-02T09:30:00-08:00"}


def line(amount: float, kind: str = "SalesItemLineDetail", **more: Any) -> dict[str, Any]:
    return {"Amount": amount, "DetailType": kind, **more}


def doc(row_id: str, total: float, **more: Any) -> dict[str, Any]:
    head = {"Id": row_id, "SyncToken": "0", "TxnDate": "2026-02-20", "CurrencyRef": {"value": "USD"}}
    return {**head, "CustomerRef": {"value": "58", "name": "Ruth"}, "TotalAmt": total, "MetaData": META, **more}


def stub_of(row_id: str) -> dict[str, Any]:
    return {
        "domain": "QBO",
        "status": "Deleted",
        "Id": row_id,
        "MetaData": {"LastUpdatedTime": EDITED["LastUpdatedTime"]},
    }


def links(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"TxnId": row_id, "TxnType": kind} for kind, row_id in pairs]


def applied(amount: float, invoice: str) -> list[dict[str, Any]]:
    return [{"Amount": amount, "LinkedTxn": links(("Invoice", invoice))}]


FIRST: dict[str, list[dict[str, Any]]] = {
    "customers": [
        {
            "Id": "58",
            "DisplayName": "Ruth Alvarez",
            "Active": True,
            "Level": 0,
            "PrimaryPhone": {"FreeFormNumber": "480.555.0144 ext 3"},
            "PrimaryEmailAddr": {"Address": "Ruth@Example.com; r2@example.com"},
            "MetaData": META,
        },
        {
            "Id": "59",
            "DisplayName": "9 Elm St",
            "Active": True,
            "Job": True,
            "Level": 1,
            "ParentRef": {"value": "58"},
            "MetaData": META,
        },
        {"Id": "60", "DisplayName": "Bo (deleted)", "Active": False, "MetaData": META},
        {"Id": "61", "DisplayName": "Merged away", "Active": True, "MetaData": META},
        {"DisplayName": "no id", "Active": True},
    ],
    "estimates": [
        doc(
            "140",
            900.0,
            TxnStatus="Accepted",
            AcceptedDate="2026-02-21",
            EmailStatus="EmailSent",
            DeliveryInfo={"DeliveryTime": "2026-02-20T08:00:00-08:00"},
            LinkedTxn=links(("Invoice", "141"), ("Invoice", "142")),
        ),
    ],
    "invoices": [
        doc("141", 400.0, Balance=0, LinkedTxn=links(("Estimate", "140"), ("Payment", "151"))),
        doc("142", 500.0, Balance=500.0, LinkedTxn=links(("Estimate", "140"))),
        doc("143", 300.0, Balance=300.0),
        doc("144", 250.0, Balance=0, LinkedTxn=links(("Payment", "152"))),
        doc(
            "145",
            420.0,
            Balance=100.0,
            TxnTaxDetail={"TotalTax": 20.0},
            Line=[
                line(450.0),
                line(450.0, "SUB_TOTAL_LINE_DETAIL"),
                line(50.0, "DiscountLineDetail"),
                line(400.0, "SubTotalLineDetail"),
            ],
        ),
        doc("146", 75.5, Balance=75.5, TxnDate="soon", LinkedTxn="odd", Line={"odd": 1}),
        doc("147", 60.0, Balance=60.0, CustomerRef={"value": "59"}, LinkedTxn=links(("Estimate", "140"))),
        doc("148", 90.0, Balance=90.0),
    ],
    "payments": [
        doc("151", 400.0, UnappliedAmt=0, Line=applied(400.0, "141")),
        doc("152", 250.0, UnappliedAmt=0, Line=applied(250.0, "144")),
        doc("153", 100.0, UnappliedAmt=40.0, Line=applied(60.0, "145")),
    ],
    "sales_receipts": [doc("161", 80.0, Balance=0)],
    "credit_memos": [doc("171", 30.0, RemainingCredit=10.0, InvoiceRef={"value": "145"})],
    "refund_receipts": [doc("181", 100.0)],
}
SECOND: dict[str, list[dict[str, Any]]] = {
    "invoices": [
        doc("142", 0, Balance=0, PrivateNote="Voided - wrong house", SyncToken="1", MetaData=EDITED),
        stub_of("143"),
        doc("144", 250.0, Balance=250.0, SyncToken="1", MetaData=EDITED),
        doc("148", 91.0, Balance=91.0, SyncToken="1", MetaData={**META, "LastUpdatedTime": "2026-02-21T05:00:00Z"}),
    ],
    "payments": [stub_of("152")],
}


def landed() -> Iterator[Landed]:
    for number, (received, streams) in enumerate(((NOW, FIRST), (LATER, SECOND))):
        for stream, rows in streams.items():
            for fields in rows:
                record = read_row(msgspec.Raw(msgspec.json.encode(fields))).record
                yield Landed(ACME, "quickbooks", stream, record, received_at=received, segment=number)
    yield Landed(ACME, "quickbooks", "customers", absent("61", LATER), received_at=LATER, segment=1)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = staged(tmp_path_factory.mktemp("quickbooks"), list(landed()), "staging.quickbooks")
    yield connection
    connection.close()


def rows_of(warehouse: duckdb.DuckDBPyConnection, columns: str, model: str, where: str = "true") -> list[Any]:
    query = f"select {columns} from staging.stg_quickbooks__{model} where {where} order by 1"
    rows = warehouse.execute(query).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def test_case_12_a_deleted_invoice_is_flagged_and_billed_revenue_falls(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = "payment_state, is_deleted, total_cents, balance_cents"
    assert rows_of(warehouse, columns, "invoices", "invoice_id = '143'") == [("deleted", True, None, None)]
    assert rows_of(warehouse, "sum(total_cents)", "invoices") == [40_000 + 0 + 25_000 + 42_000 + 7_550 + 6_000 + 9_000]


def test_case_15_a_void_invoice_is_neither_paid_nor_booked(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = "payment_state, is_voided, total_cents"
    assert rows_of(warehouse, columns, "invoices", "invoice_id = '142'") == [("voided", True, 0)]
    assert rows_of(warehouse, "invoice_id", "invoices", "payment_state = 'paid'") == ["141"]


def test_case_16_after_a_payment_was_deleted_the_invoice_is_open_again(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = "payment_state, balance_cents, has_settlement"
    assert rows_of(warehouse, columns, "invoices", "invoice_id = '144'") == [("open", 25_000, False)]
    assert rows_of(warehouse, "is_deleted, total_cents", "payments", "payment_id = '152'") == [(True, None)]
    assert rows_of(warehouse, "payment_id", "payment_applications") == ["151", "153"]


def test_case_17_a_sales_receipt_is_paid_revenue_without_a_payment(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert rows_of(warehouse, "sales_receipt_id, total_cents, is_voided", "sales_receipts") == [("161", 8_000, False)]


def test_case_18_a_refund_can_be_taken_from_what_was_paid(warehouse: duckdb.DuckDBPyConnection) -> None:
    """The marts subtract it; this layer supplies the positive amount, the day and the customer."""
    columns = "total_cents, txn_on, customer_id, is_deleted"
    assert rows_of(warehouse, columns, "refund_receipts") == [(10_000, date(2026, 2, 20), "58", False)]


def test_case_19_a_quote_with_two_progress_invoices_has_its_value_once(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert rows_of(warehouse, "estimate_id, total_cents, status", "estimates") == [("140", 90_000, "accepted")]
    assert rows_of(warehouse, "invoice_id", "invoice_links", "linked_type = 'Estimate'") == ["141", "147"]
    assert rows_of(warehouse, "invoice_id, estimate_id", "invoices", "estimate_id is not null") == [
        ("141", "140"),
        ("147", "140"),
    ]


def test_case_20_a_job_leads_to_its_parent_who_has_the_phone(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Resolving to the root is identity's; this layer keeps the job on the invoice and the way to the parent."""
    assert rows_of(warehouse, "customer_id", "invoices", "invoice_id = '147'") == ["59"]
    columns = "is_job, level, parent_key, phone_e164"
    assert rows_of(warehouse, columns, "customers", "customer_id = '59'") == [(True, 1, f"{ACME}:58", None)]
    columns = "phone_e164, primary_phone, email_normalized"
    expected = [("+14805550144", "480.555.0144 ext 3", "ruth@example.com")]
    assert rows_of(warehouse, columns, "customers", "customer_id = '58'") == expected


def test_case_24_an_inactive_customer_is_present_and_a_merged_one_flagged(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert rows_of(warehouse, "customer_id, is_active, is_deleted", "customers", "customer_id > '59'") == [
        ("60", False, False),
        ("61", True, True),
    ]


def test_case_25_lines_add_up_to_the_total_without_tax(warehouse: duckdb.DuckDBPyConnection) -> None:
    where = "invoice_id = '145'"
    assert rows_of(warehouse, "line_type, amount_cents", "invoice_lines", where) == [
        ("discount", -5_000),
        ("item", 45_000),
    ]
    ((total, tax),) = rows_of(warehouse, "total_cents, tax_cents", "invoices", where)
    assert rows_of(warehouse, "sum(amount_cents)", "invoice_lines", where) == [total - tax]


def test_the_day_on_the_document_and_the_instant_of_entry_stay_apart(warehouse: duckdb.DuckDBPyConnection) -> None:
    expected = [(date(2026, 2, 20), datetime(2026, 2, 21, 6, 0, tzinfo=UTC).replace(tzinfo=None))]
    assert rows_of(warehouse, "txn_on, created_at", "invoices", "invoice_id = '141'") == expected


def test_times_of_two_offsets_are_compared_as_instants(warehouse: duckdb.DuckDBPyConnection) -> None:
    """05:00Z on the 21st sorts after 22:00-08:00 on the 20th as text, but is an hour earlier."""
    assert rows_of(warehouse, "total_cents", "invoices", "invoice_id = '148'") == [9_000]


def test_a_partly_applied_payment_keeps_what_is_left(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert rows_of(warehouse, "total_cents, unapplied_cents", "payments", "payment_id = '153'") == [(10_000, 4_000)]
    columns = "applied_cents, invoice_key, paid_on"
    expected = [(6_000, f"{ACME}:145", date(2026, 2, 20))]
    assert rows_of(warehouse, columns, "payment_applications", "payment_id = '153'") == expected


def test_what_cannot_be_read_is_named_and_the_rest_of_the_row_stays(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = "txn_on, total_cents, payment_state"
    assert rows_of(warehouse, columns, "invoices", "invoice_id = '146'") == [(None, 7_550, "open")]
    aside = "select rejected_because from staging.base_quickbooks__customers where rejected_because is not null"
    assert warehouse.execute(aside).fetchall() == [("customer_id is missing",)]
    dropped = "select dropped_values from staging.base_quickbooks__invoices where dropped_values is not null"
    assert warehouse.execute(dropped).fetchall() == [("txn_on is not a date",)]


# ---- the sandbox as other clients use it ----


def bearer(served: Served, sandbox: SandboxQuickBooks, *, form: bool = False) -> dict[str, Any]:
    account = sandbox.credentials(served.town.clients[0], served.root("quickbooks"))
    data = {"grant_type": "refresh_token", "refresh_token": account["refresh_token"]}
    app = {"client_id": account["client_id"], "client_secret": account["client_secret"]}
    url = served.root("quickbooks") + "/oauth2/v1/tokens/bearer"
    if form:
        answer = httpx.post(url, data={**data, **app})
    else:
        answer = httpx.post(url, data=data, auth=tuple(app.values()))
    return {**answer.json(), "realm": account["realm_id"]}


def test_the_sandbox_takes_both_ways_to_name_the_app_and_tells_where_tokens_are(served: Served, sandbox: Any) -> None:
    assert bearer(served, sandbox)["token_type"] == "bearer"
    assert bearer(served, sandbox, form=True)["expires_in"] == 3600
    found = httpx.get(served.root("quickbooks") + "/.well-known/openid_configuration/").json()
    assert found["token_endpoint"] == served.root("quickbooks") + "/oauth2/v1/tokens/bearer"


def test_the_sandbox_answers_posted_queries_batches_and_xml(served: Served, sandbox: Any) -> None:
    tokens = bearer(served, sandbox)
    root = f"{served.root('quickbooks')}/v3/company/{tokens['realm']}"
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "Accept": "application/json"}
    sql = "select * from invoice Where Metadata.LastUpdatedTime > '2026-01-01T00:00:00+00:00' ORDER BY Id maxresults 5"
    text = {**headers, "Content-Type": "application/text"}
    posted = httpx.post(f"{root}/query?minorversion=75", content=sql, headers=text)
    assert posted.json()["QueryResponse"]["maxResults"] == 1
    assert posted.headers["content-type"] == "application/json;charset=UTF-8"
    items = [{"bId": "a", "Query": "SELECT count(*) FROM Payment"}, {"bId": "b", "Query": "SELECT Id FROM Payment"}]
    batch = httpx.post(f"{root}/batch", json={"BatchItemRequest": items}, headers=headers).json()["BatchItemResponse"]
    assert batch[0]["QueryResponse"] == {"totalCount": 1}
    assert batch[1]["Fault"]["Error"][0]["code"] == "4000"
    plus_became_a_space = sql.replace(" ", "%20").replace("'", "%27")
    assert httpx.get(f"{root}/query?query={plus_became_a_space}", headers=headers).status_code == 400
    assert httpx.get(f"{root}/companyinfo/{tokens['realm']}", headers={**headers, "Accept": "*/*"}).text.startswith("<")
    sandbox.calls_per_minute = 0
    assert httpx.get(f"{root}/cdc?entities=Invoice&changedSince=2026-03-01", headers=headers).status_code == 429


def test_a_restarted_sandbox_knows_the_tokens_it_issued_before(served: Served, sandbox: Any) -> None:
    sandbox.tokens.rotation = "strict"
    first = bearer(served, sandbox)
    assert bearer(served, sandbox).get("error") == "invalid_grant", "strict: the value before is dead"
    again = SandboxQuickBooks(served.town, World(served.town.seed, now=lambda: NOW))
    assert again.tokens.realm_of(first["access_token"]) == first["realm"]
    assert again.tokens.refresh(first["refresh_token"]) is not None
    assert SandboxQuickBooks(served.town, World(99, now=lambda: NOW)).tokens.refresh(first["refresh_token"]) is None
