"""Who is who: only what is one person's own joins records; what is shared, lent or public needs more. One client for each story,
all of them built at once by real dbt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from pipeline.directory import write_directory
from tests.records import (
    angi_lead,
    call,
    contact,
    customer,
    deal,
    deal_contact,
    decision,
    form,
    output,
    text,
    thumbtack_lead,
    tracker,
)
from tests.warehouse import Landed, staged

T0 = datetime(2026, 5, 4, 15, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PROXIES, PEOPLE = 50, 1000


def _stories() -> list[Landed]:
    return [
        # one person by call, form and contact, however the number is typed
        call("own", "C1", T0, "(512) 555-2101"),
        form("own", "F1", T0 + HOUR, name="Ana Lopez", phone="512.555.2101", email="Ana@Mail.example"),
        contact("own", "1", T0 + 2 * HOUR, first="Ana", last="Lopez", email="ana@mail.example"),
        # a couple on one phone; the nameless call comes when only she was in touch
        contact("home", "1", T0, first="Maria", last="Diaz", phone="5125552102", email="maria@mail.example"),
        contact("home", "2", T0 + 40 * DAY, first="Jose", last="Diaz", phone="5125552102", email="jose@mail.example"),
        call("home", "C1", T0 + HOUR, "+15125552102"),
        call("home", "C2", T0 + 40 * DAY + HOUR, "+15125552102"),
        call("home", "C3", T0 + 20 * DAY, "+15125552102"),
        # a text of ours that greets one of them is hers, whoever was in touch; a name that nobody else wrote down tells nothing
        contact("greeted", "1", T0, first="Maria", last="Diaz", phone="5125552123", email="maria@mail.example"),
        contact("greeted", "2", T0, first="Jose", last="Diaz", phone="5125552123", email="jose@mail.example"),
        text("greeted", "T1", T0 + 3 * DAY, "+15125552123", "Hi Maria, did you have a chance to look at our quote?"),
        text("greeted", "T2", T0 + 90 * DAY, "+15125552123", "Hey there! Still interested?"),
        # nor does it make a phone a shared one
        call("nickname", "C1", T0, "+15125552124"),
        contact("nickname", "1", T0 + HOUR, first="Robert", last="Diaz", phone="5125552124"),
        text("nickname", "T1", T0 + 2 * HOUR, "+15125552124", "Hi Bob, see you tomorrow."),
        # the same, but what the caller's screen shows is the only sign of the second person
        contact("screen", "1", T0 + 80 * DAY, first="Paul", last="Moran", phone="5125552103"),
        call("screen", "C1", T0, "+15125552103", name="HOLLOWAY,COLIN"),
        call("screen", "C2", T0 + 80 * DAY, "+15125552103", name="Colin Holloway"),
        # Tim and Timothy are one
        contact("spelled", "1", T0, first="Tim", last="Byrd", phone="5125552104"),
        form("spelled", "F1", T0 + HOUR, name="Timothy Byrd", phone="5125552104"),
        # a number the marketplace lends, said by Angi, found out for Thumbtack
        angi_lead("angi", "A1", T0, name="Ana Lopez", phone="5125552105", masked=True),
        call("angi", "C1", T0 + HOUR, "+15125552105"),
        angi_lead("angi", "A2", T0 + 20 * DAY, name="Rosa Cruz", phone="5125552105", masked=True),
        call("angi", "C2", T0 + 20 * DAY + HOUR, "+15125552105"),
        call("angi", "C3", T0 + 200 * DAY, "+15125552105"),
        contact("angi", "9", T0 + 2 * HOUR, first="Ana", last="Lopez", phone="5125552105", email="ana@mail.example"),
        # its mail address is the customer's own all the same
        angi_lead("mail", "A1", T0, name="Ana Lopez", phone="5125552114", masked=True, email="ana@mail.example"),
        form("mail", "F1", T0 + 200 * DAY, name="Ana Lopez", email="ana@mail.example"),
        # Thumbtack does not say whose the number is: shown once, called by anybody much later; in the CRM before
        # the lead; or copied there from it, which says nothing of who called before
        thumbtack_lead("once", "L1", T0, name="Ana Lopez", phone="5125552115"),
        call("once", "C1", T0 + HOUR, "+15125552115"),
        call("once", "C2", T0 + 180 * DAY, "+15125552115"),
        thumbtack_lead("once", "L2", T0, name="Rosa Cruz", phone="5125552116"),
        contact("once", "2", T0 - DAY, first="Rosa", last="Cruz", phone="5125552116"),
        call("once", "C3", T0 + 180 * DAY, "+15125552116"),
        thumbtack_lead("once", "L3", T0, name="Eve Stone", phone="5125552125"),
        contact("once", "3", T0 + HOUR, first="Eve", last="Stone", phone="5125552125"),
        call("once", "C4", T0 - 30 * DAY, "+15125552125"),
        call("once", "C5", T0 + 30 * DAY, "+15125552125"),
        # whom we call on it is who called us lately; so long after, it may have been lent to anybody, and what we did about
        # them is no sign of theirs
        output("once", "O1", T0 + 195 * DAY, "phone:+15125552125", "Eve"),
        call("once", "C6", T0 + 35 * DAY, "+15125552125", payload={"direction": "outbound"}),
        call("once", "C7", T0 + 200 * DAY, "+15125552125", payload={"direction": "outbound"}),
        # two of one first name
        thumbtack_lead("once", "L4", T0, name="Mia Cole", phone="5125552126"),
        thumbtack_lead("once", "L5", T0 + 60 * DAY, name="Mia Ford", phone="5125552126"),
        contact("once", "5", T0 - DAY, first="Mia", last="Cole", phone="5125552126"),
        # a lead and a deal of one name and service are one person's, unless two contacts have the name
        thumbtack_lead("namesake", "L1", T0, name="Ana Lopez", phone="5125552117"),
        deal("namesake", "1", T0 + DAY, "Ana Lopez - Roof repair"),
        thumbtack_lead("namesake", "L2", T0, name="Chad Snyder", phone="5125552118"),
        contact("namesake", "2", T0, first="Chad", last="Snyder", phone="5125552118"),
        contact("namesake", "3", T0, first="Chad", last="Snyder", phone="5125552119"),
        deal("namesake", "3", T0 + DAY, "Chad Snyder - Roof repair"),
        deal_contact("namesake", "3", "3", T0 + DAY),
        # as two customers may have it
        thumbtack_lead("namesake", "L4", T0, name="Dawn Hill", phone="5125552127"),
        deal("namesake", "4", T0 + DAY, "Dawn Hill - Roof repair"),
        form("namesake", "F4", T0 - DAY, name="Dawn Hill", phone="5125552127"),
        customer("namesake", "4", T0 + 2 * DAY, "Dawn Hill", phone="5125552127"),
        contact("namesake", "5", T0, first="Dawn", phone="5125552128"),
        deal_contact("namesake", "4", "5", T0 + DAY),
        customer("namesake", "5", T0 + 2 * DAY, "Dawn Hill", phone="5125552128"),
        # a customer without phone or email is the only contact's of that name; two deals of the name may be two people's, even if
        # one contact is written without a last name
        contact("books", "1", T0, first="Eve", last="Stone", phone="5125552120"),
        customer("books", "1", T0 + 5 * DAY, "Eve Stone"),
        contact("books", "2", T0, first="Alan", phone="5125552121"),
        deal("books", "2", T0, "Alan Bishop - Roof repair"),
        deal_contact("books", "2", "2", T0),
        customer("books", "2", T0 + 5 * DAY, "Alan Bishop"),
        contact("books", "3", T0 + 20 * DAY, first="Alan", last="Bishop", phone="5125552122"),
        deal("books", "3", T0 + 20 * DAY, "Alan Bishop - Gutters"),
        deal_contact("books", "3", "3", T0 + 20 * DAY),
        # nor the only contact's, if another customer has the name
        contact("ledger", "1", T0, first="Eve", last="Stone", phone="5125552129"),
        customer("ledger", "1", T0 + 5 * DAY, "Eve Stone"),
        customer("ledger", "2", T0 + 9 * DAY, "Eve Stone", phone="5125552129"),
        # the client's own tracking number as caller: a forwarded call
        tracker("forward", "T1", T0, "+15125552106"),
        call("forward", "C1", T0, "+15125552106"),
        call("forward", "C2", T0 + DAY, "+15125552106"),
        # a front desk
        *(contact("desk", str(n), T0 + n * HOUR, first=name, last="X", phone="5125552107") for n, name in enumerate(
            ["Abby", "Brian", "Carla", "Dana", "Eli", "Frank", "Gina", "Holly"])),
        # two of one name and one phone, whom somebody parted; two phones that somebody linked
        contact("decided", "1", T0, first="John", last="Nash", phone="5125552108"),
        contact("decided", "2", T0 + 60 * DAY, first="John", last="Nash", phone="5125552108"),
        call("decided", "C1", T0 + HOUR, "+15125552108"),
        call("decided", "C2", T0 + 60 * DAY + HOUR, "+15125552108"),
        decision("decided", "D1", T0 + 70 * DAY, "part", "hubspot_contact:1", "hubspot_contact:2"),
        call("decided", "C3", T0, "+15125552109"),
        call("decided", "C4", T0, "+15125552110"),
        decision("decided", "D2", T0 + DAY, "link", "phone:+15125552109", "phone:+15125552110"),
        # taken back again
        call("decided", "C5", T0, "+15125552111"),
        call("decided", "C6", T0, "+15125552112"),
        decision("decided", "D3", T0 + DAY, "link", "phone:+15125552111", "phone:+15125552112"),
        decision("decided", "D4", T0 + 2 * DAY, "forget", "phone:+15125552112", "phone:+15125552111"),
        # the same phone at two clients is two persons
        call("town-a", "C1", T0, "+15125552113"),
        call("town-b", "C1", T0, "+15125552113"),
        # a thousand people behind fifty numbers, each lent for a fortnight, each calling once
        *(_lent(n) for n in range(PEOPLE)),
        *(call("lent", f"C{n}", _lent_at(n) + HOUR, _proxy(n)) for n in range(PEOPLE)),
    ]  # fmt: skip


def _proxy(n: int) -> str:
    return f"+1512555{3000 + n % PROXIES}"


def _lent_at(n: int) -> datetime:
    return T0 + (n // PROXIES) * 14 * DAY + (n % PROXIES) * timedelta(minutes=7)


def _lent(n: int) -> Landed:
    return thumbtack_lead("lent", f"N{n}", _lent_at(n), name=f"Person{chr(97 + n % 26)}{n} Smith", phone=_proxy(n))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    home = tmp_path_factory.mktemp("identity")
    write_directory(home / "directory", [], {})
    connection = staged(home, _stories(), "+int_identity")
    yield connection
    connection.close()


def persons(warehouse: duckdb.DuckDBPyConnection, client: str) -> list[set[str]]:
    """Records of each person of a client, as stream:id."""
    found = defaultdict(set)
    for person, stream, record in warehouse.execute(
        "select person_id, identity.stream, record_id from intermediate.int_identity as identity "
        "inner join intermediate.int_records using (record_uid) where identity.client_id = ?",
        [client],
    ).fetchall():
        found[person].add(f"{stream}:{record}")
    return sorted(found.values(), key=sorted)


def because(warehouse: duckdb.DuckDBPyConnection, client: str, record: str) -> str:
    row = warehouse.execute(
        "select because from intermediate.int_identity as identity inner join intermediate.int_records using (record_uid) "
        "where identity.client_id = ? and record_id = ?",
        [client, record],
    ).fetchone()
    assert row
    return str(row[0])


def test_a_phone_or_email_of_one_persons_own_joins_call_form_and_contact_however_it_is_typed(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert persons(warehouse, "own") == [{"calls:C1", "form_submissions:F1", "contacts:1"}]
    assert "one person's own" in because(warehouse, "own", "C1")


def test_a_shared_phone_never_joins_two_people_and_a_nameless_call_goes_to_the_only_one_in_touch_then(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert persons(warehouse, "home") == [{"calls:C1", "contacts:1"}, {"calls:C2", "contacts:2"}, {"calls:C3"}]
    assert "only this person was in touch around that time" in because(warehouse, "home", "C1")
    assert "nobody known, or more than one" in because(warehouse, "home", "C3")


def test_a_text_is_for_whom_it_greets_if_somebody_else_wrote_that_name_down(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert persons(warehouse, "greeted") == [{"contacts:1", "messages:T1"}, {"contacts:2"}, {"messages:T2"}]
    assert persons(warehouse, "nickname") == [{"calls:C1", "contacts:1", "messages:T1"}]


def test_a_name_on_the_callers_screen_is_enough_to_see_that_a_phone_is_shared(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert persons(warehouse, "screen") == [{"calls:C1"}, {"calls:C2", "contacts:1"}]


def test_a_short_and_a_long_form_of_a_first_name_are_one_name(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert persons(warehouse, "spelled") == [{"contacts:1", "form_submissions:F1"}]


def test_a_lent_number_joins_only_the_lead_it_was_lent_to_at_that_time(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert persons(warehouse, "angi") == [
        {"leads:A1", "calls:C1", "contacts:9"},
        {"leads:A2", "calls:C2"},
        {"calls:C3"},
    ]
    assert "was lent to this marketplace lead" in because(warehouse, "angi", "C2")
    assert "too long ago" in because(warehouse, "angi", "C3")


def test_the_mail_address_of_a_lead_with_a_lent_number_is_the_persons_own(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert persons(warehouse, "mail") == [{"leads:A1", "form_submissions:F1"}]


def test_a_number_that_a_marketplace_does_not_vouch_for_is_its_leads_for_some_days_unless_it_was_known_before(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert persons(warehouse, "once") == [
        {"leads:L1", "calls:C1"},
        {"calls:C2"},
        {"leads:L2", "contacts:2", "calls:C3"},
        {"calls:C4"},
        {"leads:L3", "contacts:3", "calls:C5", "calls:C6", "outputs:O1"},
        {"calls:C7"},
        {"contacts:5"},
        {"leads:L4"},
        {"leads:L5"},
    ]


def test_a_name_that_two_contacts_or_customers_have_joins_no_lead_with_a_deal(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert persons(warehouse, "namesake") == [
        {"contacts:2", "leads:L2"}, {"contacts:3", "deals:3", "deal_contacts:3"},
        {"contacts:5", "customers:5", "deals:4", "deal_contacts:4"}, {"customers:4", "form_submissions:F4", "leads:L4"},
        {"deals:1", "leads:L1"},
    ]  # fmt: skip
    said = warehouse.execute(
        "select because from intermediate.int_record_nodes where record_uid = ? and key_kind = 'name_service'",
        ["hubspot:deals:namesake:3"],
    ).fetchall()
    assert "two contacts or customers have this name" in said[0][0]


def test_a_customer_without_phone_and_email_is_the_only_contacts_of_that_name_unless_two_deals_or_customers_have_it(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert persons(warehouse, "books") == [
        {"contacts:1", "customers:1"}, {"contacts:2", "deals:2", "deal_contacts:2"},
        {"contacts:3", "deals:3", "deal_contacts:3"}, {"customers:2"},
    ]  # fmt: skip
    assert persons(warehouse, "ledger") == [{"contacts:1", "customers:2"}, {"customers:1"}]


def test_a_thousand_people_behind_fifty_lent_numbers_are_a_thousand_people(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    found = persons(warehouse, "lent")
    assert len(found) == PEOPLE
    assert {f"leads:N{7}", f"calls:C{7}"} in found
    assert all(len(records) == 2 for records in found)


def test_the_clients_own_numbers_join_nobody(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert [one for one in persons(warehouse, "forward") if len(one) > 1] == []


def test_a_number_that_many_names_share_is_an_office_and_joins_nobody(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert len(persons(warehouse, "desk")) == 8
    row = warehouse.execute(
        "select key_class, class_because from intermediate.int_keys where identity_key = 'desk|phone:+15125552107'"
    ).fetchone()
    assert row == ("business_line", "It appears with 8 first names: an office or a front desk.")


def test_what_a_person_decided_parts_and_links_and_can_be_taken_back(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert persons(warehouse, "decided") == [
        {"calls:C1", "contacts:1"}, {"calls:C2", "contacts:2"}, {"calls:C3", "calls:C4"}, {"calls:C5"}, {"calls:C6"},
    ]  # fmt: skip


def test_the_same_number_at_two_clients_is_two_persons(warehouse: duckdb.DuckDBPyConnection) -> None:
    row = warehouse.execute(
        "select count(distinct person_id) from intermediate.int_identity where client_id in ('town-a', 'town-b')"
    ).fetchone()
    assert row == (2,)
