"""The synthetic town keeps its promises: reproducible, coherent, fictional, and unfinished at its end."""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from connectors.sandbox.facts import CHANNELS, Town
from connectors.sandbox.town import FACTS, make_town, months_before

END = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def town() -> Town:
    return make_town(11, clients=6, months=14, leads_per_month=60, end=END)


def live(facts, **where):
    return [fact for fact in facts if all(getattr(fact, key) == value for key, value in where.items())]


def by_number(facts):
    return {fact.n: fact for fact in facts}


# ---- reproducible ----


def test_same_arguments_give_an_equal_town_in_another_process():
    arguments = "23, clients=3, months=4, leads_per_month=20, end=datetime(2026, 11, 22, tzinfo=UTC)"
    here = sha256(repr(make_town(23, clients=3, months=4, leads_per_month=20, end=END)).encode()).hexdigest()
    code = (
        "from datetime import UTC, datetime; from hashlib import sha256; from connectors.sandbox.town import make_town;"
        f"print(sha256(repr(make_town({arguments})).encode()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.getcwd(), "TZ": "Asia/Tokyo"}
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert there.stdout.strip() == here


def test_other_seeds_give_other_towns():
    towns = [make_town(seed, clients=1, months=2, leads_per_month=10, end=END) for seed in (1, 2)]
    assert towns[0].people != towns[1].people


def test_more_clients_keep_the_first_ones_unchanged():
    small = make_town(5, clients=2, months=5, leads_per_month=20, end=END)
    large = make_town(5, clients=4, months=5, leads_per_month=20, end=END)
    ids = {client.client_id for client in small.clients}
    assert large.clients[:2] == small.clients
    for name in ("people", "episodes", *FACTS):
        assert [fact for fact in getattr(large, name) if fact.client_id in ids] == getattr(small, name), name


def test_many_clients_have_slugs_and_numbers_of_their_own():
    clients = make_town(1, clients=1000, months=1, leads_per_month=0, end=END).clients
    numbers = [one for c in clients for one in (c.office_phone, c.sms_phone, *(line.phone for line in c.lines))]
    assert len({client.client_id for client in clients}) == len({client.name for client in clients}) == 1000
    assert len(set(numbers)) == len(numbers)
    assert len({datetime(2026, 7, 1, tzinfo=ZoneInfo(client.timezone)).utcoffset() for client in clients}) == 5


# ---- well formed ----


def test_lists_are_in_time_order_and_numbers_are_unique(town):
    for name in FACTS:
        facts = getattr(town, name)
        assert len(facts) > 0, name
        assert all(before.at <= after.at for before, after in pairwise(facts)), name
        assert len({fact.n for fact in facts}) == len(facts), name


def moments(value):
    if isinstance(value, datetime):
        yield value
    elif is_dataclass(value):
        for one in fields(value):
            if one.name not in ("due_at", "line", "owner"):
                yield from moments(getattr(value, one.name))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from moments(one)


def test_nothing_lies_outside_the_history(town):
    for name in ("episodes", *FACTS):
        for fact in getattr(town, name):
            assert all(town.start <= moment < town.end for moment in moments(fact)), fact
            if name != "episodes":
                assert fact.changed_at >= fact.at, fact


def test_history_begins_whole_months_before_its_end():
    assert months_before(datetime(2026, 3, 31, tzinfo=UTC), 1) == datetime(2026, 2, 28, tzinfo=UTC)
    assert months_before(datetime(2026, 3, 5, tzinfo=UTC), 15) == datetime(2024, 12, 5, tzinfo=UTC)


def test_every_number_and_address_is_fictional(town):
    phones = {phone for person in town.people for phone in person.phones}
    phones |= {call.phone for call in town.calls if call.phone} | {line.phone for c in town.clients for line in c.lines}
    phones |= {lead.shown_phone for lead in [*town.thumbtack_leads, *town.angi_leads]}
    assert all(re.fullmatch(r"\+1[2-9]\d\d555\d{4}", phone) for phone in phones)
    emails = [email for person in town.people for email in person.emails] + [
        form.email for form in town.forms if form.email
    ]
    emails += [one.email for c in town.clients for one in c.staff]
    assert all(email.strip().lower().endswith((".example", ".test")) for email in emails)


def test_every_fact_belongs_to_an_episode_of_its_person_or_to_nobody(town):
    episodes = {episode.episode_id: episode for episode in town.episodes}
    for name in FACTS:
        for fact in getattr(town, name):
            if not fact.episode_id:
                assert fact.person_id == ""
                continue
            episode = episodes[fact.episode_id]
            assert (fact.person_id, fact.client_id) == (episode.person_id, episode.client_id)
            assert fact.at >= episode.opened_at
    assert {episode.channel for episode in town.episodes} == set(CHANNELS)


# ---- coherent ----


def test_balances_follow_from_payments_and_credits(town):
    invoices, paid = by_number(town.invoices), Counter()
    for payment in town.payments:
        assert sum(cents for _, cents in payment.applied) == payment.total_cents
        if payment.deleted_at is None:
            paid.update(dict(payment.applied))
    credited = Counter()
    for memo in town.credit_memos:
        credited[memo.invoice] += memo.total_cents
    for invoice in town.invoices:
        gone = invoice.voided_at or invoice.deleted_at
        owed = invoice.total_cents - paid[invoice.n] - credited[invoice.n]
        assert invoice.balance_cents == (0 if gone else owed) >= 0
        assert not (gone and paid[invoice.n])
    for payment in town.payments:
        for n, _ in payment.applied:
            assert (payment.n in invoices[n].payments) == (payment.deleted_at is None)
            assert invoices[n].customer == payment.customer


def test_revenue_of_an_episode_is_what_the_books_kept(town):
    kept = Counter()
    for payment in town.payments:
        kept[payment.episode_id] += payment.total_cents if payment.deleted_at is None else 0
    for receipt in town.sales_receipts:
        kept[receipt.episode_id] += receipt.total_cents
    for refund in town.refund_receipts:
        kept[refund.episode_id] -= refund.total_cents
    for episode in town.episodes:
        assert episode.revenue_cents == kept[episode.episode_id] >= 0
        assert not (episode.outcome == "paid" and (not episode.booked or episode.revenue_cents == 0))
        assert not (episode.revenue_cents and not episode.booked)
        assert bool(episode.lost_reason) == (episode.outcome == "lost")


def test_money_comes_in_every_way_quickbooks_knows(town):
    assert any(len(payment.applied) > 1 for payment in town.payments)
    assert any(len(invoice.payments) > 1 for invoice in town.invoices)
    assert any(invoice.voided_at for invoice in town.invoices)
    assert any(invoice.deleted_at for invoice in town.invoices)
    assert any(payment.deleted_at for payment in town.payments)
    assert any(customer.parent for customer in town.customers)
    customers = by_number(town.customers)
    assert all(customers[one.parent].person_id == one.person_id for one in town.customers if one.parent)
    names = [(customer.client_id, customer.display_name) for customer in town.customers]
    assert len(set(names)) == len(names)


def test_nothing_is_sent_after_stop(town):
    stopped, stops = set(), 0
    for sms in town.sms:
        key = (sms.client_id, sms.phone)
        if sms.opt_out_type == "STOP":
            stops += 1
            stopped.add(key)
        elif sms.opt_out_type == "START":
            stopped.discard(key)
        else:
            assert not (sms.direction.startswith("outbound") and key in stopped)
    assert stops > 0


def test_texts_that_fail_say_why(town):
    for sms in town.sms:
        assert (sms.error_code is not None) == (sms.statuses[-1][1] == "undelivered")
    assert {sms.error_code for sms in town.sms} == {None, 30003, 30005, 30006}


def test_deals_move_forward_and_hang_on_contacts_of_the_same_person(town):
    contacts = by_number(town.contacts)
    for deal in town.deals:
        assert deal.stages[0][0] == deal.at
        assert all(before[0] < after[0] for before, after in pairwise(deal.stages))
        assert contacts[deal.contact].person_id == deal.person_id
        assert contacts[deal.contact].merged_into == 0
    for contact in town.contacts:
        if contact.merged_into:
            survivor = contacts[contact.merged_into]
            assert survivor.merged_into == 0
            assert survivor.person_id == contact.person_id
    emails = [(contact.client_id, contact.email) for contact in town.contacts if contact.email]
    assert len(set(emails)) == len(emails), "HubSpot refuses a second contact with one address"


def test_prior_calls_counts_the_calls_of_that_number(town):
    seen = Counter()
    for call in town.calls:
        if call.phone:
            assert call.prior_calls == seen[call.client_id, call.phone]
            seen[call.client_id, call.phone] += 1


def test_marketplace_messages_and_reviews_belong_to_a_lead(town):
    leads = {lead.negotiation_id: lead for lead in town.thumbtack_leads}
    for fact in [*town.thumbtack_messages, *town.thumbtack_reviews]:
        assert leads[fact.negotiation_id].person_id == fact.person_id
    assert all(re.fullmatch(r"\d{18}", lead.negotiation_id) for lead in town.thumbtack_leads)
    complaints = {review.rating for review in town.thumbtack_reviews}
    assert complaints & {1, 2}
    assert complaints & {4, 5}


# ---- hard to match, as in life ----


def test_a_masked_number_is_never_somebodys_own_and_may_serve_two_customers(town):
    own = {(person.client_id, phone) for person in town.people for phone in person.phones}
    served = defaultdict(set)
    for lead in [*town.thumbtack_leads, *town.angi_leads]:
        key = (lead.client_id, lead.shown_phone)
        assert (key in own) != lead.masked
        if lead.masked:
            served[key].add(lead.person_id)
    assert any(len(people) > 1 for people in served.values())


def test_only_households_share_a_phone(town):
    owners = defaultdict(list)
    for person in town.people:
        for phone in person.phones:
            owners[person.client_id, phone].append(person)
    shared = [people for people in owners.values() if len(people) > 1]
    assert all(len({person.household for person in people}) == 1 for people in shared)
    assert all(len({person.name for person in people}) == len(people) for people in shared)
    assert 0.03 < sum(map(len, shared)) / len(town.people) < 0.10


def test_people_come_back_only_after_ninety_days(town):
    opened = defaultdict(list)
    for episode in town.episodes:
        opened[episode.person_id].append(episode.opened_at)
    assert all(after - before > timedelta(days=90) for times in opened.values() for before, after in pairwise(times))
    assert 0.06 < sum(len(times) > 1 for times in opened.values()) / len(opened) < 0.20


def test_shares_are_those_of_a_real_firm(town):
    inbound = live(town.calls, direction="inbound")
    touches = Counter(
        f.episode_id for f in [*inbound, *town.forms, *town.threads, *town.thumbtack_leads, *town.angi_leads]
    )
    touches.pop("", None)
    assert set(touches) == {episode.episode_id for episode in town.episodes}
    shares = {
        "nuisance calls": (sum(not call.person_id for call in town.calls) / len(town.calls), 0.05, 0.08),
        "answered": (sum(call.answered for call in inbound) / len(inbound), 0.4, 0.75),
        "touch twice": (sum(count > 1 for count in touches.values()) / len(touches), 0.2, 0.35),
        "booked": (sum(episode.booked for episode in town.episodes) / len(town.episodes), 0.35, 0.7),
        "form capture": (sum(form.via == "callrail" for form in town.forms) / len(town.forms), 0.4, 0.6),
        "never entered": (1 - len({c.person_id for c in town.contacts}) / len(town.people), 0.05, 0.2),
        "lost pushes": (sum(not lead.pushed for lead in town.angi_leads) / len(town.angi_leads), 0.01, 0.12),
    }
    assert {name: share for name, (share, low, high) in shares.items() if not low < share < high} == {}


def test_stories_cut_by_the_end_are_open(town):
    late = [episode for episode in town.episodes if episode.opened_at > town.end - timedelta(days=10)]
    assert sum(episode.outcome == "open" for episode in late) / len(late) > 0.2
    assert any(estimate.status == "Pending" for estimate in town.estimates)
    assert any(invoice.balance_cents for invoice in town.invoices)


def test_calls_are_edited_days_later(town):
    edited = [call for call in town.calls if call.changed_at - call.at > timedelta(days=1)]
    assert any(call.value_cents for call in edited)
    assert any("Booked" in call.tags for call in edited)


def test_joining_the_agency_answers_more_calls(town):
    clients = {client.client_id: client for client in town.clients}
    answered = defaultdict(list)
    for call in town.calls:
        if call.direction == "inbound" and call.person_id:
            answered[call.at >= clients[call.client_id].joined_at].append(call.answered)
    shares = {joined: sum(calls) / len(calls) for joined, calls in answered.items()}
    assert shares[True] > shares[False] + 0.04


def test_the_office_knows_no_more_than_it_was_told(town):
    """Before a visit is booked nobody has the real number of somebody behind a masked one."""
    shown = {lead.episode_id: lead for lead in [*town.thumbtack_leads, *town.angi_leads] if lead.masked}
    unbooked = {episode.episode_id for episode in town.episodes if not episode.booked}
    noted = [contact for contact in town.contacts if contact.phone and contact.episode_id in unbooked & set(shown)]
    assert noted
    for contact in noted:
        digits = re.sub(r"\D", "", contact.phone)[-10:]
        assert shown[contact.episode_id].shown_phone.endswith(digits)
    emails = {contact.episode_id for contact in town.contacts if contact.email}
    assert not emails & {lead.episode_id for lead in town.thumbtack_leads} & unbooked
