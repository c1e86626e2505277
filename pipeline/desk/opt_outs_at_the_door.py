"""An opt-out is in force the moment we say that we have it: it is written in the transaction that stores its webhook.

The connector says who wrote what; what that means is read here, before the transaction, and written in it. A webhook that came
before changes nothing again, and one that tells of an earlier time than what stands does not undo it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from connectors.base import Said
from pipeline.follow_up import opt_out_words
from pipeline.store.engine import stamp
from pipeline.store.suppressions import Cause, lift, standing, suppress


@dataclass(frozen=True)
class Wish:
    """What somebody wants of us from now on."""

    does: Literal["stop", "review", "start"]
    address: str = field(repr=False)
    cause: Cause
    said: Said


def read_wish(said: Said) -> Wish | None:
    """What it means for our right to write; None: nothing."""
    address = normalized(said.channel, said.address)
    if not address:
        return None
    match said.told:
        case "stop" | "complaint" | "bounce":
            causes: dict[str, Cause] = {"stop": "provider", "complaint": "complaint", "bounce": "bounce"}
            return Wish("stop", address, causes[said.told], said)
        case "start":
            return Wish("start", address, "provider", said)
        case "help":
            return None
    match opt_out_words.read(said.words).meaning:
        case "opt_out":
            return Wish("stop", address, "keyword", said)
        case "likely_revocation":
            return Wish("review", address, "words", said)
        case "opt_in" if said.channel == "text":  # "yes" in a mail answers a question; nobody resubscribes by it
            return Wish("start", address, "keyword", said)
    return None


def heed(connection: Connection, client_id: str, wish: Wish, now: datetime) -> None:
    """Put it in force, in the caller's transaction."""
    said = wish.said
    if wish.does == "start":
        known = standing(connection, client_id, wish.address, said.channel)
        if known is not None and known["channel"] == said.channel and known["since"] <= stamp(said.at):
            lift(connection, client_id, wish.address, said.channel, by="themselves", evidence=said.about, now=now)
        return
    suppress(
        connection,
        client_id,
        wish.address,
        said.channel,
        cause=wish.cause,
        evidence=said.about,
        now=now,
        since=min(said.at, now),
        in_review=wish.does == "review",
    )


def normalized(channel: str, address: str) -> str:
    """As addresses stand in the store: E.164, or lower-case mail. "" if it is none that could be written to."""
    if channel == "email":
        address = address.strip().lower()
        return address if re.fullmatch(r"[^\s@\0]+@[^\s@\0]+\.[^\s@\0]+", address) else ""
    number = address.rpartition(":")[2].strip()  # whatsapp:+1512…
    digits = re.sub(r"[^0-9]", "", number)
    if number.startswith("+"):
        return f"+{digits}" if 8 <= len(digits) <= 15 else ""
    if len(digits) == 10:
        return f"+1{digits}"
    return f"+{digits}" if len(digits) == 11 and digits.startswith("1") else ""
