"""What can be true in the synthetic town. `town.py` makes these up; each provider's sandbox module only renders them.

All instants are timezone-aware UTC. Money is integer cents (USD). `n` numbers facts of one kind across the whole town,
in order of their making: stable for a seed, so provider ids are derived from it. `person_id`/`episode_id` are "" for
noise that belongs to nobody (spam, robocalls). `changed_at` is the last time the provider's record changed (late edits).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True)
class Staff:
    """Someone who answers the phone at a client's."""

    n: int
    given: str
    family: str
    email: str
    role: str  # "owner" | "dispatcher" | "technician"


@dataclass(frozen=True)
class Line:
    """A phone number the client advertises. `channel` is where it is shown; CallRail makes a tracker of it."""

    n: int
    name: str
    channel: str  # see CHANNELS
    phone: str  # E.164
    created_at: datetime


# how a person found the client; a CallRail source, a form's utm_source and a HubSpot source are derived from it
CHANNELS = (
    "google_paid",
    "google_organic",
    "google_my_business",
    "facebook",
    "direct",
    "referral",
    "truck",  # offline: a number on the van
    "thumbtack",
    "angi",
)


@dataclass(frozen=True)
class Client:
    n: int
    client_id: str  # slug: "ridgeline-plumbing"
    name: str
    trade: str  # "plumbing" | "roofing" | "hvac"
    timezone: str
    city: str
    state: str
    zip_codes: tuple[str, ...]
    area_code: str
    domain: str  # "ridgelineplumbing.example"
    office_phone: str
    sms_phone: str  # the Twilio number
    lines: tuple[Line, ...]  # one per call channel
    staff: tuple[Staff, ...]
    joined_at: datetime


@dataclass(frozen=True)
class Address:
    street: str
    city: str
    state: str
    zip_code: str


@dataclass
class Person:
    """A homeowner. Two of one household may share a phone. `phones`/`emails` are all they ever use, first = main."""

    n: int
    person_id: str
    client_id: str
    given: str
    family: str
    phones: list[str]  # E.164
    emails: list[str]
    address: Address
    household: str

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"


@dataclass
class Episode:
    """One time a person wanted something: what the pipeline should recover as a lead."""

    n: int
    episode_id: str
    client_id: str
    person_id: str
    channel: str
    service: str  # "Water heater repair"
    urgency: str  # "emergency" | "soon" | "planned"
    opened_at: datetime
    outcome: str = "lost"  # "paid" | "booked" | "lost" | "open"
    booked: bool = False
    revenue_cents: int = 0
    lost_reason: str = ""


@dataclass
class Fact:
    """What every fact knows."""

    n: int
    client_id: str
    person_id: str
    episode_id: str
    at: datetime
    changed_at: datetime


@dataclass
class Call(Fact):
    """A call through CallRail. `phone` is the customer's number as the network showed it ("" if withheld)."""

    direction: str  # "inbound" | "outbound"
    line: Line
    phone: str
    caller_name: str
    answered: bool
    voicemail: bool
    seconds: int
    prior_calls: int
    staff_email: str  # who answered, "" if nobody
    spam: bool
    lead_status: str  # "" | "good_lead" | "not_a_lead"
    tags: tuple[str, ...]
    value_cents: int | None
    note: str
    service: str


@dataclass
class FormFill(Fact):
    """A form on the client's site. `via` says who caught it: "callrail" form capture, or the generic "forms" intake."""

    via: str
    name: str
    phone: str  # as typed: "(512) 555-0142", "" if left out
    email: str  # as typed
    message: str
    service: str
    page: str  # path
    channel: str
    consent_to_text: bool


@dataclass
class TextThread(Fact):
    """A text conversation through a CallRail tracking number. `messages`: (at, direction "incoming"|"outgoing", text)."""

    line: Line
    phone: str
    name: str
    messages: list[tuple[datetime, str, str]] = field(default_factory=list)


@dataclass
class Sms(Fact):
    """A message through the client's Twilio number. `statuses`: (at, status) in order, e.g. queued, sent, delivered."""

    direction: str  # "inbound" | "outbound-api" | "outbound-reply"
    phone: str  # the person's
    body: str
    statuses: list[tuple[datetime, str]]
    error_code: int | None = None
    opt_out_type: str = ""  # "STOP" | "START" | "HELP" on inbound


@dataclass
class ThumbtackLead(Fact):
    """`shown_phone` is what Thumbtack shows: the real one or a masked proxy. Ids are text of 18 digits."""

    negotiation_id: str
    customer_id: str
    shown_phone: str
    masked: bool
    price_cents: int
    charge_state: str  # Created | Pending | Charged | Refunded
    category: str
    description: str
    refunded_at: datetime | None = None


@dataclass
class ThumbtackMessage(Fact):
    message_id: str
    negotiation_id: str
    sender: str  # "Customer" | "Business"
    text: str


@dataclass
class ThumbtackReview(Fact):
    review_id: str
    negotiation_id: str
    rating: int
    text: str


@dataclass
class AngiLead(Fact):
    lead_oid: int
    sr_oid: int
    shown_phone: str
    masked: bool
    email: str
    fee_cents: int
    task: str
    comments: str
    match_type: str  # "Lead" | "Direct Match"
    consent: bool | None  # automatedContactCompliant
    pushed: bool  # False: the webhook never came (an outage); only the CSV export knows it


@dataclass
class Contact(Fact):
    """A HubSpot contact. `phone` as typed by staff. `merged_into` = n of the surviving contact; 0 if it stands."""

    given: str
    family: str
    email: str
    phone: str
    owner: Staff
    lifecycle: str  # lead | opportunity | customer
    lead_status: str
    email_optout: bool
    source: str  # a HubSpot hs_analytics_source value
    archived: bool = False
    merged_into: int = 0


@dataclass
class Deal(Fact):
    """`stages`: (at, stage key) in order; keys are those of DEAL_STAGES. `contact` is the Contact's n."""

    name: str
    contact: int
    owner: Staff
    amount_cents: int | None
    stages: list[tuple[datetime, str]]
    lost_reason: str
    archived: bool = False


DEAL_STAGES = ("new", "quoted", "booked", "won", "lost")


@dataclass
class CrmTask(Fact):
    subject: str
    kind: str  # "CALL" | "TODO"
    priority: str
    due_at: datetime
    done: bool
    contact: int
    owner: Staff


@dataclass
class Customer(Fact):
    """A QuickBooks customer. `phone` is free text. `parent` = n of the parent customer (0: none)."""

    display_name: str
    given: str
    family: str
    email: str
    phone: str
    address: Address
    active: bool = True
    parent: int = 0


@dataclass
class Estimate(Fact):
    customer: int
    doc_number: str
    service: str
    total_cents: int
    status: str  # Pending | Accepted | Closed | Rejected
    emailed_at: datetime | None
    accepted_at: datetime | None
    expires_on: date


@dataclass
class Invoice(Fact):
    """`balance_cents` and `payments` (n's) are as of the end of the town. `estimate` = n or 0."""

    customer: int
    doc_number: str
    service: str
    total_cents: int
    balance_cents: int
    estimate: int
    due_on: date
    payments: list[int] = field(default_factory=list)
    credit_memos: list[int] = field(default_factory=list)
    voided_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass
class Payment(Fact):
    customer: int
    total_cents: int
    applied: list[tuple[int, int]]  # (invoice n, cents)
    reference: str
    deleted_at: datetime | None = None


@dataclass
class SalesReceipt(Fact):
    customer: int
    doc_number: str
    service: str
    total_cents: int


@dataclass
class CreditMemo(Fact):
    customer: int
    doc_number: str
    total_cents: int
    invoice: int
    reason: str


@dataclass
class RefundReceipt(Fact):
    customer: int
    doc_number: str
    total_cents: int
    reason: str


@dataclass
class Town:
    """Everything, in order of `at` within each list. `start`/`end` bound the history (end exclusive)."""

    seed: int
    start: datetime
    end: datetime
    clients: list[Client]
    people: list[Person] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    forms: list[FormFill] = field(default_factory=list)
    threads: list[TextThread] = field(default_factory=list)
    sms: list[Sms] = field(default_factory=list)
    thumbtack_leads: list[ThumbtackLead] = field(default_factory=list)
    thumbtack_messages: list[ThumbtackMessage] = field(default_factory=list)
    thumbtack_reviews: list[ThumbtackReview] = field(default_factory=list)
    angi_leads: list[AngiLead] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)
    crm_tasks: list[CrmTask] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    sales_receipts: list[SalesReceipt] = field(default_factory=list)
    credit_memos: list[CreditMemo] = field(default_factory=list)
    refund_receipts: list[RefundReceipt] = field(default_factory=list)
