"""What QuickBooks ends up with: customers, estimates, invoices, and every way money comes in and goes back.

Balances are as of the end of the town and follow from the facts: total - live payments - credit memos.
A credit memo always lowers what is still owed, so money kept = payments that stand + sales receipts - refunds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connectors.sandbox.facts import CreditMemo, Customer, Estimate, Invoice, Payment, RefundReceipt, SalesReceipt
from connectors.sandbox.story.diary import Case, Diary
from connectors.sandbox.story.people import noted_phone, typed_email

SMALL_JOB = 60_000  # cents: may be paid on the spot
REASONS = ("came back twice", "damage to drywall", "quoted less on the phone", "late arrival")


@dataclass
class Ledger:
    """The money of one case."""

    kept_cents: int = 0
    invoices: list[Invoice] = field(default_factory=list)
    receipts: int = 0

    @property
    def settled(self) -> bool:
        live = [one for one in self.invoices if not one.voided_at and not one.deleted_at]
        return bool(live or self.receipts) and all(one.balance_cents == 0 for one in live)


def write(diary: Diary, case: Case) -> Ledger:
    """Bill the case as far as it got; returns what was kept and whether anything is still owed."""
    ledger = Ledger()
    estimate = _estimate(diary, case) if case.quoted_at and diary.chance(0.78) else None
    if not diary.seen(case.done_at):
        return ledger
    assert case.done_at is not None
    if estimate is None and case.price_cents < SMALL_JOB and diary.chance(0.35):
        _sales_receipt(diary, case, ledger)
    else:
        _bill(diary, case, ledger, estimate)
    return ledger


# ---- customers ---------------------------------------------------------------------------------------------


def _customer(diary: Diary, case: Case, at: datetime) -> Customer:
    """Who is billed: for a landlord, one of his houses; contact data stays with the parent."""
    person = case.person
    known = diary.customers.get(person.person_id)
    if known:
        return known
    customer = Customer(
        n=diary.n("customer"),
        client_id=diary.client.client_id,
        person_id=person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=diary.last_change(at, diary.days_later(at, 1, 60) if diary.chance(0.15) else None),
        display_name=_display_name(diary, person.name, person.address.street),
        given=person.given,
        family=person.family,
        email=typed_email(diary, person, leaves_out=0.18),
        phone=noted_phone(diary, person),
        address=person.address,
        active=not diary.chance(0.01),
    )
    diary.add(diary.town.customers, customer)
    if diary.chance(0.05):
        customer = _sub_customer(diary, case, customer)
    diary.customers[person.person_id] = customer
    return customer


def _sub_customer(diary: Diary, case: Case, parent: Customer) -> Customer:
    """One of a landlord's houses, called by its street."""
    street = f"{diary.rng.randrange(10, 9990)} {parent.address.street.split(' ', 1)[1]}"
    at = parent.at + timedelta(seconds=30)
    job = Customer(
        n=diary.n("customer"),
        client_id=diary.client.client_id,
        person_id=case.person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=at,
        display_name=_display_name(diary, street, parent.family),
        given="",
        family="",
        email="",
        phone="",
        address=parent.address,
        parent=parent.n,
    )
    return diary.add(diary.town.customers, job)


def _display_name(diary: Diary, name: str, beside: str) -> str:
    """QuickBooks wants each name once."""
    shown = name if name not in diary.taken_names else f"{name} ({beside})"
    while shown in diary.taken_names:
        shown += " 2"
    diary.taken_names.add(shown)
    return shown


# ---- selling -----------------------------------------------------------------------------------------------


def _estimate(diary: Diary, case: Case) -> Estimate | None:
    assert case.quoted_at is not None
    if not diary.seen(case.quoted_at):
        return None
    customer = _customer(diary, case, case.quoted_at - timedelta(minutes=diary.rng.randint(2, 30)))
    emailed = diary.later(case.quoted_at, 1, 45)
    closed = case.done_at and diary.later(case.done_at, 30, 900)
    rejected = case.lost_at if case.lost_at and diary.chance(0.6) else None
    status = "Pending"
    if diary.seen(closed):
        status = "Closed"
    elif diary.seen(case.booked_at):
        status = "Accepted"
    elif diary.seen(rejected):
        status = "Rejected"
    estimate = Estimate(
        n=diary.n("estimate"),
        client_id=diary.client.client_id,
        person_id=case.person.person_id,
        episode_id=case.episode.episode_id,
        at=case.quoted_at,
        changed_at=diary.last_change(case.quoted_at, emailed, case.booked_at, closed, rejected),
        customer=customer.n,
        doc_number="",
        service=case.service.name,
        total_cents=case.price_cents,
        status=status,
        emailed_at=emailed if diary.seen(emailed) and diary.chance(0.9) else None,
        accepted_at=case.booked_at if diary.seen(case.booked_at) else None,
        expires_on=(case.quoted_at.astimezone(diary.zone) + timedelta(days=30)).date(),
    )
    return diary.add(diary.town.estimates, estimate)


def _sales_receipt(diary: Diary, case: Case, ledger: Ledger) -> None:
    assert case.done_at is not None
    at = diary.later(case.done_at, 5, 240)
    if at >= diary.end:
        return
    customer = _customer(diary, case, at - timedelta(minutes=1))
    receipt = SalesReceipt(
        diary.n("sales_receipt"),
        diary.client.client_id,
        case.person.person_id,
        case.episode.episode_id,
        at,
        at,
        customer.n,
        "",
        case.service.name,
        case.price_cents,
    )
    diary.add(diary.town.sales_receipts, receipt)
    ledger.kept_cents += receipt.total_cents
    ledger.receipts += 1
    if case.complaint and diary.chance(0.6):
        _refund(diary, case, ledger, customer, diary.days_later(at, 1, 14))


# ---- billing -----------------------------------------------------------------------------------------------


def _bill(diary: Diary, case: Case, ledger: Ledger, estimate: Estimate | None) -> None:
    assert case.done_at is not None
    at = diary.later(case.done_at, 20, 600) if diary.chance(0.7) else diary.days_later(case.done_at, 0.5, 4)
    at = diary.in_hours(at)
    if at >= diary.end:
        return
    customer = _customer(diary, case, at - timedelta(minutes=2))
    link = estimate.n if estimate else 0
    if diary.chance(0.022):
        at = _void(diary, _invoice(diary, case, ledger, customer, at, case.price_cents, link))
        if at >= diary.end:
            return  # not voided yet: the wrong invoice still stands
    bills = [_invoice(diary, case, ledger, customer, at, case.price_cents, link)]
    if diary.chance(0.015):
        _entered_by_mistake(diary, case, ledger, customer, bills[0])
    if diary.chance(0.07):
        extra = _whole_dollars(case.price_cents * diary.rng.uniform(0.08, 0.25))
        also = _invoice(diary, case, ledger, customer, diary.later(at, 5, 900), extra, link)
        if also.at < diary.end:
            bills.append(also)
    if case.complaint and diary.chance(0.55):
        _credit(diary, case, bills[0], diary.days_later(at, 0.2, 2))
    if diary.chance(0.96):
        _collect(diary, case, ledger, bills)


def _invoice(
    diary: Diary, case: Case, ledger: Ledger, customer: Customer, at: datetime, cents: int, estimate: int
) -> Invoice:
    invoice = Invoice(
        n=diary.n("invoice"),
        client_id=diary.client.client_id,
        person_id=case.person.person_id,
        episode_id=case.episode.episode_id,
        at=at,
        changed_at=at,
        customer=customer.n,
        doc_number="",
        service=case.service.name,
        total_cents=cents,
        balance_cents=cents,
        estimate=estimate,
        due_on=(at.astimezone(diary.zone) + timedelta(days=14)).date(),
    )
    if at < diary.end:
        ledger.invoices.append(invoice)
    return diary.add(diary.town.invoices, invoice)


def _void(diary: Diary, invoice: Invoice) -> datetime:
    """Made out wrongly; voided, and made out again a little later."""
    voided = diary.days_later(invoice.at, 0.05, 3)
    if voided < diary.end:
        invoice.voided_at = invoice.changed_at = voided
        invoice.balance_cents = 0
    return diary.later(voided, 2, 60)


def _entered_by_mistake(diary: Diary, case: Case, ledger: Ledger, customer: Customer, real: Invoice) -> None:
    twin = _invoice(diary, case, ledger, customer, diary.later(real.at, 1, 30), real.total_cents, 0)
    deleted = diary.later(twin.at, 10, 4000)
    if deleted < diary.end:
        twin.deleted_at = twin.changed_at = deleted
        twin.balance_cents = 0


def _credit(diary: Diary, case: Case, invoice: Invoice, at: datetime) -> None:
    """Something off the bill after a complaint, before it is paid."""
    if at >= diary.end:
        return
    cents = _whole_dollars(invoice.total_cents * diary.rng.uniform(0.1, 0.35))
    memo = CreditMemo(
        diary.n("credit_memo"),
        diary.client.client_id,
        case.person.person_id,
        case.episode.episode_id,
        at,
        at,
        invoice.customer,
        "",
        cents,
        invoice.n,
        diary.pick(REASONS),
    )
    diary.add(diary.town.credit_memos, memo)
    invoice.credit_memos.append(memo.n)
    invoice.balance_cents -= cents
    invoice.changed_at = max(invoice.changed_at, at)


def _refund(diary: Diary, case: Case, ledger: Ledger, customer: Customer, at: datetime) -> None:
    if at >= diary.end:
        return
    share = 1.0 if diary.chance(0.3) else diary.rng.uniform(0.1, 0.5)
    cents = ledger.kept_cents if share == 1.0 else _whole_dollars(ledger.kept_cents * share)
    refund = RefundReceipt(
        diary.n("refund_receipt"),
        diary.client.client_id,
        case.person.person_id,
        case.episode.episode_id,
        at,
        at,
        customer.n,
        "",
        cents,
        diary.pick(REASONS),
    )
    diary.add(diary.town.refund_receipts, refund)
    ledger.kept_cents -= cents


# ---- being paid --------------------------------------------------------------------------------------------


def _collect(diary: Diary, case: Case, ledger: Ledger, bills: list[Invoice]) -> None:
    """Payments for these bills: at once, in two parts, late; one payment may cover several bills."""
    settled = max([bill.changed_at for bill in bills])
    draw = diary.rng.random()
    first = diary.later(settled, 5, 400) if draw < 0.45 else diary.days_later(settled, 0.5, 16 if draw < 0.88 else 55)
    first = diary.in_hours(first)
    if len(bills) == 1 and bills[0].balance_cents > 80_000 and diary.chance(0.35):
        deposit = _whole_dollars(bills[0].balance_cents * diary.pick((0.25, 0.3, 0.5)))
        _pay(diary, case, ledger, bills, first, [deposit])
        first = diary.in_hours(diary.days_later(first, 3, 35))
        if diary.chance(0.04):
            return  # the rest never comes
    paid = _pay(diary, case, ledger, bills, first, [bill.balance_cents for bill in bills])
    if paid and diary.chance(0.012):
        first = _bounce(diary, ledger, bills, paid)
        if first < diary.end and diary.chance(0.7):
            first = diary.in_hours(diary.days_later(first, 1, 12))
            paid = _pay(diary, case, ledger, bills, first, [bill.balance_cents for bill in bills])
    if paid and case.complaint and not bills[0].credit_memos and paid.deleted_at is None:
        customer = diary.customers[case.person.person_id]
        _refund(diary, case, ledger, customer, diary.days_later(first, 1, 14))


def _pay(
    diary: Diary, case: Case, ledger: Ledger, bills: list[Invoice], at: datetime, shares: list[int]
) -> Payment | None:
    if at >= diary.end:
        return None
    applied = [(bill.n, cents) for bill, cents in zip(bills, shares, strict=True) if cents > 0]
    payment = Payment(
        diary.n("payment"),
        diary.client.client_id,
        case.person.person_id,
        case.episode.episode_id,
        at,
        at,
        bills[0].customer,
        sum(cents for _, cents in applied),
        applied,
        str(diary.rng.randint(1000, 9999)) if diary.chance(0.4) else "",
    )
    diary.add(diary.town.payments, payment)
    for bill, cents in zip(bills, shares, strict=True):
        if cents > 0:
            bill.payments.append(payment.n)
            bill.balance_cents -= cents
            bill.changed_at = max(bill.changed_at, at)
    ledger.kept_cents += payment.total_cents
    return payment


def _bounce(diary: Diary, ledger: Ledger, bills: list[Invoice], payment: Payment) -> datetime:
    """A check that did not clear: the payment is deleted, and the bill is owed again."""
    bounced = diary.in_hours(diary.days_later(payment.at, 1, 8))
    if bounced >= diary.end:
        return bounced
    payment.deleted_at = payment.changed_at = bounced
    owed = dict(payment.applied)
    for bill in bills:
        if bill.n in owed:
            bill.payments.remove(payment.n)
            bill.balance_cents += owed[bill.n]
            bill.changed_at = max(bill.changed_at, bounced)
    ledger.kept_cents -= payment.total_cents
    return bounced


def _whole_dollars(cents: float) -> int:
    return max(100, int(cents / 100) * 100)
