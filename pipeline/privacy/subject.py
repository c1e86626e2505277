"""Who is meant, and everything we hold of them: by identity in the published warehouse, and by their addresses and name in
what identity has given to nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

import duckdb
import phonenumbers
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from sqlalchemy import Engine, select

from pipeline.client_safe.known_values import NAME_COLUMNS
from pipeline.client_safe.spelling import as_written, fold
from pipeline.settings import Settings
from pipeline.store.erasures import addresses_in
from pipeline.store.schema import inbox

LONG_ID = 6  # a shorter id is also a number that means something else
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{6,}")

Key = tuple[str, str, str]  # provider, stream, record id


class NobodyFound(Exception):
    """We hold nothing of them; or they cannot be told from somebody else."""


@dataclass
class Subject:
    """One person of one client. `records` are theirs, `mentions` somebody else's that name an address of theirs."""

    client_id: str
    people: set[str] = field(default_factory=set)
    leads: set[str] = field(default_factory=set)
    records: set[Key] = field(default_factory=set)
    mentions: set[Key] = field(default_factory=set)
    webhooks: set[int] = field(default_factory=set)  # as they came, in the inbox
    addresses: set[str] = field(default_factory=set)  # phone:+1…, email:…
    names: set[str] = field(default_factory=set)  # folded, of two words or more

    @property
    def is_known(self) -> bool:
        return bool(self.people or self.records or self.mentions or self.webhooks)

    @property
    def identifiers(self) -> set[str]:
        """What tombstones are made of."""
        return {
            *(f"record:{'/'.join(key)}" for key in self.records),
            *(f"mention:{'/'.join(key)}" for key in self.mentions),
            *(f"webhook:{one}" for one in self.webhooks),
            *self.addresses,
            *(f"lead:{one}" for one in self.leads),
            *(f"person:{one}" for one in self.people),
            *(f"name:{one}" for name in self.names for one in _ways_to_write(name)),
        }


def _ways_to_write(name: str) -> Iterator[str]:
    """As `spelling` runs the words together: given name first, family name first."""
    words = [word.folded for word in as_written(name)]
    return ("".join(words[i:] + words[:i]) for i in range(len(words)))


def identifier(who: str) -> str:
    """A phone or an email as identity writes it; anything else is an id of ours."""
    if "@" in who:
        return f"email:{who.strip().lower()}"
    if re.fullmatch(r"[\d\s().+-]{7,}", who.strip()):
        try:
            number = phonenumbers.parse(who, "US")
        except phonenumbers.NumberParseException:
            raise NobodyFound(f"{who!r} is no phone number. Write it with its area code, e.g. +15125550142.") from None
        return f"phone:{phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)}"
    return who.strip()


def find(settings: Settings, engine: Engine, client_id: str, who: str) -> Subject:
    """Raises NobodyFound if an address is shared: then a person has to be named by id."""
    subject, named = Subject(client_id), identifier(who)
    placed: dict[Key, str] = {}
    if settings.analytics.exists():
        with duckdb.connect(str(settings.analytics), read_only=True) as analytics:
            subject.people = _people(analytics, client_id, named)
            placed = _placed(analytics, client_id)
            _by_identity(analytics, subject)
    if ":" in named:
        subject.addresses.add(named)
    if subject.people or ":" in named:
        _by_content(settings, subject, placed)
        _webhooks(engine, subject)
    return subject


def _people(analytics: duckdb.DuckDBPyConnection, client_id: str, named: str) -> set[str]:
    if ":" not in named:
        query = (
            "select person_id from timeline.dim_leads where client_id = $client and (lead_id = $who or person_id = $who) union "
            "select person_id from timeline.dim_leads join timeline.lead_aliases using (client_id, lead_id) "
            "where client_id = $client and alias_id = $who union "
            "select person_id from timeline.record_identity where client_id = $client and person_id = $who"
        )
    else:
        query = (
            "select distinct person_id from timeline.record_identifiers "
            "join timeline.record_identity using (client_id, record_uid) where client_id = $client and identifier = $who"
        )
    people = {row[0] for row in analytics.execute(query, {"client": client_id, "who": named}).fetchall()}
    if len(people) > 1:
        raise NobodyFound(
            f"{len(people)} people of {client_id} share this address: {', '.join(sorted(people))}. Look at them with `leadtrail "
            "identity show`, then erase one by its person id."
        )
    return people


def _placed(analytics: duckdb.DuckDBPyConnection, client_id: str) -> dict[Key, str]:
    rows = analytics.execute(
        "select provider, stream, record_id, person_id from timeline.record_identity where client_id = ?", [client_id]
    ).fetchall()
    return {(provider, stream, record_id): person_id for provider, stream, record_id, person_id in rows}


def _by_identity(analytics: duckdb.DuckDBPyConnection, subject: Subject) -> None:
    about = {"client": subject.client_id, "people": sorted(subject.people)}
    of_them = "client_id = $client and person_id in (select unnest($people))"
    for table in ("record_identity", "fct_lead_events"):
        query = f"select distinct provider, stream, record_id from timeline.{table} where {of_them}"  # noqa: S608
        subject.records |= {tuple(row) for row in analytics.execute(query, about).fetchall()}
    query = f"select distinct lead_id from timeline.dim_leads where {of_them}"  # noqa: S608
    subject.leads = {row[0] for row in analytics.execute(query, about).fetchall()}
    query = (  # theirs alone: a household's phone is somebody else's too
        "with held as (select distinct identifier, person_id from timeline.record_identifiers "
        "join timeline.record_identity using (client_id, record_uid) where client_id = $client "
        "and key_class in ('direct', 'household') and split_part(identifier, ':', 1) in ('phone', 'email')) "
        "select identifier from held group by 1 having bool_and(person_id in (select unnest($people)))"
    )
    subject.addresses |= {row[0] for row in analytics.execute(query, about).fetchall()}
    subject.names = {one for one in map(fold, _names(analytics, subject)) if len(one.split()) > 1}


def _names(analytics: duckdb.DuckDBPyConnection, subject: Subject) -> Iterator[str]:
    columns = analytics.execute(
        "select table_name, column_name from information_schema.columns where table_schema = 'staging' "
        "and table_name like 'base#_%' escape '#'"
    ).fetchall()
    for provider, stream in sorted({key[:2] for key in subject.records}):
        ids = [key[2] for key in subject.records if key[:2] == (provider, stream)]
        for table, column in columns:
            if table == f"base_{provider}__{stream}" and column in NAME_COLUMNS:
                query = (
                    f'select distinct "{column}"::varchar from staging."{table}" where client_id = ? '  # noqa: S608
                    f'and record_id in (select unnest(?)) and "{column}" is not null'
                )
                yield from (row[0] for row in analytics.execute(query, [subject.client_id, ids]).fetchall())


def _by_content(settings: Settings, subject: Subject, placed: dict[Key, str]) -> None:
    """Records that hold an address of theirs; of those that identity gave to nobody, also by full name."""
    ours, of_people = {*subject.leads, *subject.people}, {key[:2] for key in placed}
    for path in sorted(settings.landing.glob("*/*/*.parquet")):
        table = pq.read_table(path, columns=["client_id", "provider", "stream", "record_id", "payload"])
        for client_id, provider, stream, record_id, payload in zip(
            *(table[i].to_pylist() for i in range(5)), strict=True
        ):
            key: Key = (provider, stream, record_id)
            if client_id != subject.client_id or key in subject.records:
                continue
            owner = placed.get(key)
            theirs = not subject.addresses.isdisjoint(addresses_in(payload.encode()))
            if theirs and owner is not None and owner not in subject.people:
                subject.mentions.add(key)
            elif theirs or _tells(provider, payload, ours):
                subject.records.add(key)
            elif owner is None and key[:2] in of_people and _names_them(payload, subject.names):
                subject.records.add(key)  # deleted or hidden at its provider


def _names_them(payload: str, names: set[str]) -> bool:
    text = fold(payload)
    return any(name in text for name in names)


def _tells(provider: str, payload: str, ids: set[str]) -> bool:
    """Our own records of what we did name leads by our ids."""
    return provider == "leadtrail" and any(one in payload for one in ids)


def _webhooks(engine: Engine, subject: Subject) -> None:
    """Those that name them: by address, by full name, or by the id of a record of theirs."""
    ids = {key[2].encode() for key in subject.records if len(key[2]) >= LONG_ID}
    columns = (inbox.c.id, inbox.c.state, inbox.c.url, inbox.c.headers, inbox.c.body)
    with engine.connect() as connection:
        for row in connection.execute(select(*columns).where(inbox.c.client_id == subject.client_id)):
            whole = b"\n".join((row.body, row.url.encode(), row.headers.encode()))
            found = {one for text in spellings_of(whole) for one in addresses_in(text)}
            named = any(_names_them(text.decode(errors="replace"), subject.names) for text in spellings_of(whole))
            if row.state == "stored":
                # it has not been read: what may be somebody else's stays, and what is theirs will not come in
                theirs = bool(found & subject.addresses) or (named and not found)
            else:
                theirs = bool(found & subject.addresses) or named or not ids.isdisjoint(_TOKEN.findall(whole))
            if theirs:
                subject.webhooks.add(row.id)


def spellings_of(text: bytes) -> Sequence[bytes]:
    """A webhook's body as it came, and with its percent signs undone: forms are sent that way."""
    return (text, unquote_to_bytes(text.replace(b"+", b" "))) if b"%" in text else (text,)
