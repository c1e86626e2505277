"""Texting that is not, or no longer, allowed: the client's 10DLC registration is not approved, by the clients file or by what
Twilio last said of it (each sync asks), or carriers refuse our texts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from pipeline.follow_up.causes.trouble import House, Trouble
from pipeline.store.engine import stamp
from pipeline.store.held import NOT_APPROVED
from pipeline.store.registrations import load_registrations
from pipeline.store.schema import output_log, outputs

RECOVERY = (
    "Settle the registration with the client and in the Twilio console, set `texting: approved` again in the clients file, "
    "then end the hold: a person must have looked."
)
NOT_REGISTERED = (30032, 30034)  # toll-free number not verified, 10DLC number not registered
FILTERED = 30007  # taken for spam


def find(house: House) -> list[Trouble]:
    return _not_approved(house) + _not_confirmed(house) + _refused_when_sent(house) + _refused_by_carriers(house)


def _not_approved(house: House) -> list[Trouble]:
    """Of clients for whom texts go out, or would. Those for whom nobody texts need no approval."""
    wanted = (outputs.c.status == "delivered") | (outputs.c.reason_code == NOT_APPROVED)
    query = (
        select(outputs.c.client_id, func.max(outputs.c.status_at).label("at"))
        .where(outputs.c.channel == "text", wanted)
        .group_by(outputs.c.client_id)
    )
    with house.engine.connect() as connection:
        texts = {row.client_id: row.at for row in connection.execute(query)}
    return [
        Trouble(
            client.client_id,
            "text",
            f"The 10DLC registration is {client.follow_up.texting}, as the clients file says, and there are texts to send.",
            datetime.fromisoformat(texts[client.client_id]),
        )
        for client in house.clients
        if client.client_id in texts and client.follow_up.texting != "approved"
    ]


def _not_confirmed(house: House) -> list[Trouble]:
    """The clients file says approved, and the provider says otherwise, or cannot or does not say."""
    texting = {one.client_id for one in house.clients if one.follow_up.texting == "approved"}
    return [
        Trouble(row["client_id"], "text", *doubt)
        for row in load_registrations(house.engine)
        if row["client_id"] in texting
        and (row["client_id"], row["provider"]) in house.connections
        and (doubt := _doubt(row, house.limits.asked_in_vain))
    ]


def _doubt(row: Mapping[str, Any], patience: timedelta) -> tuple[str, datetime] | None:
    """Why it is not sure that texts may go, and since when."""
    since = datetime.fromisoformat(row["since"])
    if row["state"] in ("pending", "rejected", "withdrawn"):
        return f"Twilio says that the 10DLC campaign is {row['state']} ({row['said']}).", since
    if row["state"] == "unknown" and row["answered_at"]:
        said = f"Twilio does not say that the 10DLC campaign is approved ({row['said']})"
        return f"Compliance state unknown: {said}.", since
    heard = datetime.fromisoformat(row["answered_at"] or row["since"])
    if datetime.fromisoformat(row["asked_at"]) - heard < patience:
        return None
    return (
        f"Compliance state unknown: asked in vain how the 10DLC campaign stands since {heard:%Y-%m-%d %H:%M} UTC.",
        heard,
    )


def _refused_when_sent(house: House) -> list[Trouble]:
    """Twilio says that our number may not send."""
    recent = output_log.c.at >= stamp(house.now - house.limits.filtered_within)
    query = (
        select(outputs.c.client_id, func.max(output_log.c.at).label("at"))
        .join(outputs, outputs.c.output_id == output_log.c.output_id)
        .where(outputs.c.channel == "text", output_log.c.code == "sender", recent)
        .group_by(outputs.c.client_id)
    )
    with house.engine.connect() as connection:
        rows = connection.execute(query).all()
    evidence = "Twilio refused a text: the client's number may not send."
    return [Trouble(row.client_id, "text", evidence, datetime.fromisoformat(row.at)) for row in rows]


def _refused_by_carriers(house: House) -> list[Trouble]:
    rows = house.published(
        "select client_id, error_code, count(*), max(created_at) from staging.stg_twilio__messages "
        "where direction <> 'inbound' and status in ('failed', 'undelivered') and error_code in (?, ?, ?) and created_at >= ? "
        "group by client_id, error_code order by client_id, error_code desc",
        *NOT_REGISTERED,
        FILTERED,
        (house.now - house.limits.filtered_within).astimezone(UTC).replace(tzinfo=None),
    )
    return [
        Trouble(client, "text", f"Carriers refused {count} texts of the last day ({code}: {_WORDS[code]}).", _utc(at))
        for client, code, count, at in rows
        if code != FILTERED or count >= house.limits.filtered_at_least
    ]


_WORDS = {30032: "toll-free number not verified", 30034: "number not registered", FILTERED: "taken for spam"}


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
