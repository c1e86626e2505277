"""What is known of a client's customers, to be looked for in whatever is about to be shown: names, phones, emails, addresses,
order numbers. Read once from the published analytics and kept in memory only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb

from pipeline.client_safe.shown import FIGURE_NAMES
from pipeline.client_safe.spelling import as_written, fold, key
from pipeline.client_safe.vocabulary import TRADE
from pipeline.clients import ClientConfig, load_clients
from pipeline.settings import Settings

# Columns of staging that hold them. A test compares this with every column that staging has.
NAME_COLUMNS = frozenset(
    """customer_name full_name given_name family_name first_name last_name contact_name display_name company_name reviewer_name
    accepted_by""".split()  # noqa: SIM905
)
PHONE_COLUMNS = frozenset(
    """customer_phone phone phone_e164 mobile_phone mobile_phone_e164 secondary_phone secondary_phone_e164 primary_phone
    alternate_phone""".split()  # noqa: SIM905
)
EMAIL_COLUMNS = frozenset(("email", "email_normalized", "customer_email", "additional_emails", "address", "bill_email"))
STREET_COLUMNS = frozenset(("street", "address"))
ORDER_COLUMNS = frozenset(("doc_number", "reference", "lead_id", "request_group_id"))
CITY_COLUMNS = frozenset(("city", "customer_city"))
# whose columns are of the client's own people, places and numbers
OURS = frozenset(
    ("stg_callrail__companies", "stg_callrail__trackers", "stg_hubspot__owners", "stg_twilio__phone_numbers")
)
OWN_NUMBERS = (
    ("stg_callrail__trackers", "destination_e164"),
    ("stg_callrail__calls", "tracking_e164"),
    ("stg_callrail__calls", "business_number"),
    ("stg_twilio__phone_numbers", "phone_e164"),
)
SHORT_NUMBER = 6  # an order number of fewer digits is told from a count only by the word before it
_STREET = re.compile(r"^\s*(\d+)[a-z]?\s+(.+)$", re.IGNORECASE)
_DIRECTIONS = frozenset(("n", "s", "e", "w", "ne", "nw", "se", "sw", "north", "south", "east", "west"))
STREET_KINDS = frozenset(
    """st street ave avenue av dr drive ln lane ct court rd road blvd boulevard way pl place ter terrace cir circle pkwy parkway
    trl trail hwy highway sq square loop aly alley xing crossing cv cove run pass pike row walk path plaza plz
    ridge bend""".split()  # noqa: SIM905
)


@dataclass
class KnownValues:
    """`values` by key (see `spelling`), `name_parts` are single words of names, `orders` short numbers."""

    values: dict[str, str] = field(default_factory=dict)
    name_parts: set[str] = field(default_factory=set)
    orders: set[str] = field(default_factory=set)
    allowed: set[str] = field(default_factory=set)  # the client's own name and numbers, by key
    allowed_words: set[str] = field(default_factory=set)  # of its name, and where it works

    @property
    def longest(self) -> int:
        return max((len(one) for one in (*self.values, *self.allowed)), default=0)

    def allow(self, *texts: str) -> None:
        """The client's own name, number or address: no finding."""
        for text in texts:
            if one := key(text):
                self.allowed |= {one, one[-10:]} if one.isdigit() else {one}
                self.allowed_words |= {word.folded for word in as_written(text) if word.folded.isalpha()}

    def add_name(self, name: str) -> None:
        if street := _STREET.match(name):
            return self.add_street(street[0])
        words = [word.folded for word in as_written(re.sub(r"[’'](?=\w)", "", name)) if word.folded.isalpha()]
        if all(word in TRADE for word in words) or not words:
            return None  # what a caller screen shows instead of a name
        if len(words) > 1:
            ways = [words[i:] + words[:i] for i in range(len(words))]  # "Cruz, Ana de la" as well
            ways += [[words[0], words[-1]], [words[-1], words[0]], *([words[1:]] if len(words) > 2 else [])]
            self.values.update({"".join(way): "name" for way in ways if len("".join(way)) > 3})
        self.values.update({key(part): "name" for part in name.split() if re.search(r"\w[’']\w{3}", part)})  # O'Brien
        if len(words) <= 4:  # longer ones are firms
            self.name_parts |= {word for word in words if len(word) > 1 and word not in TRADE}
        return None

    def add_client(self, name: str) -> None:
        """Another client's: nobody is told whom else we serve."""
        if not all(word.folded in TRADE for word in as_written(name)):
            self.values[key(name)] = "name of another client"

    def add_phone(self, phone: str) -> None:
        # what is written beside a number ("cell: ... x12") is no part of it
        digits = re.sub(r"\D", "", re.split(r"(?i)\s*(?:ext|x)\.?\s*\d", phone)[0])
        if len(digits) == 11 and digits.startswith("1"):
            digits = digits[1:]
        if len(digits) == 10:
            self.values.update({digits: "phone number", f"1{digits}": "phone number", digits[3:]: "phone number"})
        elif len(digits) >= 7:
            self.values[digits] = "phone number"

    def add_email(self, emails: str) -> None:
        for email in re.split(r"[;,\s]+", emails):
            if "@" in email:
                self.values[key(email)] = "email address"

    def add_street(self, street: str) -> None:
        """By number and name, whatever kind of street it is called; and the street by itself, with its kind."""
        found = _STREET.match(street)
        if not found:
            return
        words = [word.folded for word in as_written(found[2].split(",")[0]) if word.folded not in _DIRECTIONS]
        if len(words) > 1 and words[0].isdigit():  # 12th
            words[:2] = [words[0] + words[1]]
        if not words:
            return
        self.values.update({found[1] + direction + words[0]: "address" for direction in ("", *_DIRECTIONS)})
        if len(words) > 1 and words[1] in STREET_KINDS:
            self.values.update({words[0] + kind: "address" for kind in STREET_KINDS})

    def add_order(self, number: str) -> None:
        one = key(number)
        if not any(c.isdigit() for c in one):
            return
        if one.isdigit() and len(one) < SHORT_NUMBER:
            self.orders.add(one)
        elif len(one) >= 4:
            self.values[one] = "order number"


def known_values(settings: Settings, client_id: str) -> KnownValues:
    """Of that client's leads and customers, as last published."""
    known = KnownValues()
    with duckdb.connect(str(settings.analytics), read_only=True) as analytics:
        columns = analytics.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'staging' "
            "and table_name like 'stg#_%' escape '#' order by 1, 2"
        ).fetchall()

        def values(table: str, column: str) -> Iterable[str]:
            query = f'select distinct "{column}"::varchar from staging."{table}" where client_id = ? and "{column}" is not null'  # noqa: S608
            return [row[0] for row in analytics.execute(query, [client_id]).fetchall()]

        for table, column in columns:
            if table in OURS:
                continue
            for take, wanted in (
                (known.add_name, NAME_COLUMNS),
                (known.add_phone, PHONE_COLUMNS),
                (known.add_email, EMAIL_COLUMNS),
                (known.add_street, STREET_COLUMNS),
                (known.add_order, ORDER_COLUMNS),
                (lambda city: known.allowed_words.update(fold(city).split()), CITY_COLUMNS),
            ):
                if column in wanted:
                    for value in values(table, column):
                        take(value)
        for own in OWN_NUMBERS:
            if own in columns:
                known.allow(*values(*own))
    for one in load_clients(settings):
        if one.client_id == client_id:
            _allow_own(known, one)
        else:
            known.add_client(one.name)
    known.allowed |= {key(name) for name in FIGURE_NAMES}  # somebody may call themselves "Missed Calls"
    return known


def _allow_own(known: KnownValues, client: ClientConfig) -> None:
    own = client.follow_up
    known.allow(client.name, own.business_name, own.office_phone, own.postal_address)
