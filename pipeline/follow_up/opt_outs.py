"""Opt-outs that arrived by any system become suppressions, before anything is emitted.

The intake suppresses at once what a webhook says. This takes in the rest: what the CRM says of a contact, what was synced late,
and words in texts of systems that read no opt-outs themselves. Doing it again changes nothing, and what somebody decided since
stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, Engine, select

from pipeline.clients import ClientConfig
from pipeline.follow_up.opt_out_words import read
from pipeline.follow_up.published import Published
from pipeline.follow_up.tasks import OWNER, owner_task
from pipeline.store.engine import put, stamp
from pipeline.store.outputs import enqueue
from pipeline.store.schema import feeds, suppressions
from pipeline.store.suppressions import Channel, lift, suppress

if TYPE_CHECKING:
    from pipeline.office import Office

OVERLAP = timedelta(days=1)  # what was received earlier may be published later
_SAID = """
    select events.client_id, events.event_id, events.event_type, events.occurred_at as said_at, events.received_at,
        case when events.contact_method = 'email' or events.detail = 'email' then 'email' else 'text' end as channel,
        events.text, held.identifier, contacts.phone, contacts.email
    from timeline.fct_lead_events as events
    left join timeline.record_identifiers as held
        on events.record_uid = held.record_uid and (held.identifier like 'phone:%' or held.identifier like 'email:%')
    left join follow_up.follow_up_contacts as contacts on events.lead_id = contacts.lead_id
    where {condition}
    order by said_at, events.event_id
"""
_TOLD = "events.event_type in ('opted_out', 'opted_in')"
_WRITTEN = (
    "events.event_type in ('text_received', 'email_received', 'marketplace_message_received') and events.text is not null "
    "and events.received_at > $since"
)


@dataclass(frozen=True)
class Wish:
    """What somebody wants at an address."""

    what: Literal["stop", "review", "start"]
    at: datetime
    event_id: str
    cause: Literal["provider", "words", "keyword"]


@dataclass(frozen=True)
class Said:
    """What the published events say: wishes by (client, address, channel), and how far texts were read for them."""

    wishes: Mapping[tuple[str, str, str], Sequence[Wish]]
    until: datetime | None


def take_opt_outs(office: Office, *, now: datetime) -> int:
    """Bring published opt-outs into force. Returns how many suppressions changed."""
    with Published.opened(office.settings) as published:
        clients = {one.client_id: one for one in office.clients()}
        said = read_opt_outs(office.engine, published)
        with office.engine.begin() as connection:
            return heed_opt_outs(connection, said, published, clients, now)


def read_opt_outs(engine: Engine, published: Published) -> Said:
    """What was said in any system; of texts, what was not read before."""
    with engine.connect() as connection:
        until = _read_until(connection)
    wishes: dict[tuple[str, str, str], list[Wish]] = {}
    for row in published.events(_SAID.format(condition=_TOLD)):
        what: Literal["stop", "start"] = "stop" if row["event_type"] == "opted_out" else "start"
        _add(wishes, row, Wish(what, row["said_at"], row["event_id"], "provider"))
    for row in published.events(_SAID.format(condition=_WRITTEN), since=until - OVERLAP if until else _EVER):
        until = max(until or row["received_at"], row["received_at"])
        meaning = read(row["text"]).meaning
        if meaning == "opt_out":
            _add(wishes, row, Wish("stop", row["said_at"], row["event_id"], "keyword"))
        elif meaning == "likely_revocation":
            _add(wishes, row, Wish("review", row["said_at"], row["event_id"], "words"))
    return Said(wishes, until)


def heed_opt_outs(
    connection: Connection, said: Said, published: Published, clients: Mapping[str, ClientConfig], now: datetime
) -> int:
    """Put it in force, in the caller's transaction. Returns how many suppressions changed."""
    changed = sum(_heed(connection, key, wishes, now) for key, wishes in sorted(said.wishes.items()))
    _ask_about_words(connection, published, clients, now)
    if said.until is not None and said.until != _read_until(connection):
        _remember(connection, said.until, now)
    return changed


_EVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _add(wishes: dict[tuple[str, str, str], list[Wish]], row: Mapping[str, Any], wish: Wish) -> None:
    """To the address on the record that says so; the lead's own if the record has none."""
    channel = row["channel"]
    kind = "email" if channel == "email" else "phone"
    held = row["identifier"] or ""
    address = (
        held.removeprefix(f"{kind}:") if held.startswith(f"{kind}:") else row["email" if kind == "email" else kind]
    )
    if address:
        wishes.setdefault((row["client_id"], address, channel), []).append(wish)


def _heed(connection: Connection, key: tuple[str, str, str], said: Iterable[Wish], now: datetime) -> bool:
    """The newest wish counts, unless what stands is newer."""
    client_id, address = key[:2]
    channel: Channel = "email" if key[2] == "email" else "text"
    wish = max(said, key=lambda one: (one.at, one.what != "start", one.event_id))
    table = suppressions.c
    where = (table.client_id == client_id, table.address == address, table.channel == channel)
    known = connection.execute(select(table.state, table.state_at, table.since).where(*where)).first()
    if wish.what == "start":
        stands = known is not None and known.state == "standing" and known.since < stamp(wish.at)
        return stands and lift(connection, client_id, address, channel, by="them", evidence=wish.event_id, now=now)
    if known is not None:
        is_news = known.state == "lifted" and known.state_at < stamp(wish.at)
        firmer = known.state == "in_review" and wish.what == "stop"
        if not (is_news or firmer):
            return False
    suppress(
        connection,
        client_id,
        address,
        channel,
        cause=wish.cause,
        evidence=wish.event_id,
        now=now,
        in_review=wish.what == "review",
    )
    return True


def _ask_about_words(
    connection: Connection, published: Published, clients: Mapping[str, ClientConfig], now: datetime
) -> None:
    """Whoever wrote what may mean "stop" is left alone until their owner has read it: one task for each."""
    for row in connection.execute(select(suppressions).where(suppressions.c.state == "in_review")).mappings():
        client = clients.get(row["client_id"])
        if client is None:
            continue
        named = f"{row['client_id']}|{row['channel']}|{row['address']}|{row['state_at']}"
        key = hashlib.sha256(named.encode()).hexdigest()[:32]  # no address in a key
        held = published.events(
            "select lead_id from follow_up.follow_up_contacts where client_id = $client and (phone = $way or email = $way) "
            "order by opened_at desc limit 1",
            client=row["client_id"],
            way=row["address"],
        )
        lead_id = held[0]["lead_id"] if held else None
        contact = published.contact(row["client_id"], lead_id) if lead_id else None
        task = owner_task(
            client,
            key=f"in-review|{key}",
            subject="Read this: did they ask us to stop writing?",
            body="They wrote something that may mean so. Nothing is sent to them until you decide: "
            "`leadtrail opt-outs confirm` or `leadtrail opt-outs lift`.",
            source=f"event {row['evidence']}",
            now=now,
            lead_id=lead_id,
            contact=contact,
            priority=OWNER,
        )
        enqueue(connection, [task], now)


# ---- how far texts were read ----


_FEED = ("", "leadtrail", "opt_out_words")


def _read_until(connection: Connection) -> datetime | None:
    where = (feeds.c.client_id == _FEED[0], feeds.c.provider == _FEED[1], feeds.c.feed == _FEED[2])
    cursor = connection.execute(select(feeds.c.cursor).where(*where)).scalar()
    return datetime.fromisoformat(cursor.strip('"')) if cursor else None


def _remember(connection: Connection, until: datetime, now: datetime) -> None:
    row = {"client_id": _FEED[0], "provider": _FEED[1], "feed": _FEED[2], "seen": b"", "version": 1}
    put(connection, feeds, [{**row, "cursor": f'"{until.isoformat()}"', "committed_at": stamp(now)}])
