"""Homeowners: names, numbers, addresses, households, and the many ways the same number is typed."""

from __future__ import annotations

from connectors.sandbox.facts import Address, Person
from connectors.sandbox.story.diary import Diary
from connectors.sandbox.story.places import FAR_AREA_CODES
from connectors.sandbox.story.words import FAMILY, GIVEN, MAIL_HOSTS, NO_NAMES, STREETS

FIRST_HOME_NUMBER = 2100  # 555-2100..9999; the numbers below belong to firms
SPOUSE = 0.032  # of new people: makes about 6 % share a phone


def make_person(diary: Diary) -> Person:
    n = diary.n("person")
    if diary.town.people and diary.chance(SPOUSE):
        partner = diary.pick(diary.town.people)
        if partner.phones[0] not in diary.listed:
            return _keep(diary, _spouse(diary, n, partner))
    given, family = diary.pick(GIVEN), diary.pick(FAMILY)
    phones = [new_phone(diary)]
    if diary.chance(0.24):
        phones.append(new_phone(diary))
    if diary.chance(0.13):
        diary.landlines.add(phones[-1])
    person_id = f"P{n}"
    return _keep(
        diary,
        Person(
            n,
            person_id,
            diary.client.client_id,
            given,
            family,
            phones,
            _emails(diary, given, family),
            _address(diary),
            f"H{n}",
        ),
    )


def _keep(diary: Diary, person: Person) -> Person:
    diary.town.people.append(person)
    return person


def _spouse(diary: Diary, n: int, partner: Person) -> Person:
    """Somebody of the same home, on the same phone."""
    given = diary.pick([name for name in GIVEN if name != partner.given])
    family = partner.family if diary.chance(0.75) else diary.pick(FAMILY)
    phones = [partner.phones[0]]
    if diary.chance(0.4):
        phones.append(new_phone(diary))
    person = Person(
        n,
        f"P{n}",
        partner.client_id,
        given,
        family,
        phones,
        _emails(diary, given, family),
        partner.address,
        partner.household,
    )
    diary.listed[phones[0]] = partner.name
    return person


def new_phone(diary: Diary, *, far: float = 0.12) -> str:
    """A number nobody of this client's has yet."""
    while True:
        code = diary.pick(FAR_AREA_CODES if diary.chance(far) else diary.metro.area_codes)
        phone = f"+1{code}555{diary.rng.randrange(FIRST_HOME_NUMBER, 10_000):04d}"
        if phone not in diary.taken_phones:
            diary.taken_phones.add(phone)
            return phone
        far += 0.02  # the local codes are filling up


def _emails(diary: Diary, given: str, family: str) -> list[str]:
    draw = diary.rng.random()
    return [_email(diary, given, family) for _ in range(0 if draw < 0.07 else 2 if draw > 0.88 else 1)]


def _email(diary: Diary, given: str, family: str) -> str:
    first, last = given.lower(), family.lower().replace("'", "")
    local = diary.pick((f"{first}.{last}", f"{first[0]}{last}", f"{first}{last}", f"{last}.{first}", f"{first}_{last}"))
    host = diary.pick(MAIL_HOSTS)
    email = f"{local}@{host}"
    while email in diary.taken_emails:
        email = f"{local}{diary.rng.randrange(1, 9999)}@{host}"
    diary.taken_emails.add(email)
    return email


def _address(diary: Diary) -> Address:
    metro = diary.metro
    city = metro.city if diary.chance(0.7) else diary.pick(metro.suburbs)
    street = f"{diary.rng.randrange(10, 9990)} {diary.pick(STREETS)}"
    return Address(street, city, metro.state, diary.pick(metro.zip_codes))


# ---- as typed ----------------------------------------------------------------------------------------------


def typed_phone(diary: Diary, phone: str) -> str:
    """A number as somebody puts it into a form or a CRM."""
    if not phone:
        return ""
    area, exchange, rest = phone[2:5], phone[5:8], phone[8:]
    return diary.pick(
        (
            f"({area}) {exchange}-{rest}",
            f"({area}) {exchange}-{rest}",
            f"{area}-{exchange}-{rest}",
            f"{area}-{exchange}-{rest}",
            f"{area}{exchange}{rest}",
            f"{area}{exchange}{rest}",
            f"{area}.{exchange}.{rest}",
            f"{area} {exchange} {rest}",
            f"1-{area}-{exchange}-{rest}",
            f"+1 {area} {exchange} {rest}",
            phone,
        )
    )


def noted_phone(diary: Diary, person: Person) -> str:
    """A number as a bookkeeper notes it down."""
    typed = typed_phone(diary, person.phones[0])
    draw = diary.rng.random()
    if draw < 0.05:
        return f"cell: {typed}"
    if draw < 0.08:
        return f"{typed} ext 3"
    if draw < 0.11:
        return f"{typed} (wife)"
    if draw < 0.14 and len(person.phones) > 1:
        return f"h {typed} / c {typed_phone(diary, person.phones[1])}"
    return "" if draw > 0.93 else typed


def typed_email(diary: Diary, person: Person, *, leaves_out: float = 0.1) -> str:
    """An address as typed: sometimes in capitals, sometimes with a slip."""
    if not person.emails or diary.chance(leaves_out):
        return ""
    email = person.emails[0] if len(person.emails) == 1 or diary.chance(0.8) else person.emails[1]
    draw = diary.rng.random()
    if draw < 0.05:
        return email.upper()
    if draw < 0.11:
        return email[0].upper() + email[1:]
    if draw < 0.13:
        return email + " "
    if draw < 0.15:
        slip = diary.rng.randrange(1, email.index("@"))
        return email[:slip] + email[slip + 1 :]
    return email


def shown_name(diary: Diary, person: Person, phone: str) -> str:
    """What the phone network says about a caller: a shared phone is listed under one name only."""
    name = diary.listed.get(phone, person.name)
    draw = diary.rng.random()
    if draw < 0.55:
        return name
    if draw < 0.75:
        return ",".join(reversed(name.upper().split(" ", 1)))
    if draw < 0.82:
        return f"{person.address.city.upper()} {person.address.state}"
    return diary.pick(NO_NAMES)
