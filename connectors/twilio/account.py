"""Calls to the Twilio REST API (2010-04-01): JSON out, forms in, keyset lists newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import msgspec

from connectors.base import ConnectorError, ContractChanged, CredentialError, Record, Rejected
from connectors.http import Account, Params, Response, Wait, retry_after

PAGE_SIZE = 1000  # the API's maximum


class _Error(msgspec.Struct):
    code: int | str = ""


class TwilioAccount(Account):
    """Twilio's own words in place of the bare HTTP status. Its `message` is never shown: it quotes phone numbers."""

    def judge(self, response: Response) -> Wait | ConnectorError | None:
        status = response.status
        if status == 429:  # 20429 is documented as "not processed", so even a send may be repeated
            return Wait("too many requests (429)", retry_after(response, self.http.clock.now()), unprocessed=True)
        if status == 401:
            return CredentialError(
                "Twilio refuses the account SID and token, or the account is suspended (401, 20003).",
                connection=self.connection,
                fix="Look at the account in the Twilio console, correct the token or API key, then run `leadtrail check`.",
            )
        verdict = super().judge(response)
        if not isinstance(verdict, Rejected):
            return verdict
        code = _code(response.body)
        return Rejected(
            f"Twilio refused the request ({status}, code {code or 'none'}).",
            connection=self.connection,
            fix=f"See https://www.twilio.com/docs/errors/{code}" if code else verdict.fix,
            status=status,
            code=code,
        )


def _code(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body, type=_Error).code)
    except msgspec.DecodeError:
        return ""


# ---- records ----


class Item(msgspec.Struct, frozen=True, gc=False):
    """What the connector itself reads of a message or a number; the rest stays in the payload."""

    sid: str = ""
    account_sid: str = ""
    status: str = ""
    direction: str = ""
    sender: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    body: str | None = None
    phone_number: str | None = None
    messaging_service_sid: str | None = None
    error_code: int | None = None
    date_created: str | None = None
    date_sent: str | None = None
    date_updated: str | None = None

    @property
    def created_at(self) -> datetime | None:
        return mail_date(self.date_created)

    @property
    def sent_at(self) -> datetime | None:
        return mail_date(self.date_sent)


_item = msgspec.json.Decoder(Item)


def read_item(raw: msgspec.Raw | bytes) -> Item:
    """Lenient: a field of a new type counts as missing, so the record is landed and staging can put it aside."""
    try:
        return _item.decode(raw)
    except msgspec.ValidationError:
        loose = msgspec.json.decode(raw)
        texts = (
            {key: value for key, value in loose.items() if isinstance(value, str)} if isinstance(loose, dict) else {}
        )
        return msgspec.convert(texts, Item)


def record(raw: msgspec.Raw | bytes, item: Item) -> Record:
    return Record(
        item.sid or "sha256:" + sha256(raw).hexdigest()[:32],
        raw,
        occurred_at=item.sent_at or item.created_at,
        updated_at=mail_date(item.date_updated),
    )


@lru_cache(maxsize=4096)  # a list repeats each instant two or three times, and parsing one costs 8 µs
def mail_date(text: str | None) -> datetime | None:
    """RFC 2822 -> UTC. None if missing or not a date."""
    try:
        when = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)  # "-0000" is UTC of unknown origin


# ---- lists ----


class _Messages(msgspec.Struct):
    items: list[msgspec.Raw] = msgspec.field(name="messages")
    next_page_uri: str | None = None


class _Numbers(msgspec.Struct):
    items: list[msgspec.Raw] = msgspec.field(name="incoming_phone_numbers")
    next_page_uri: str | None = None


class Listed(NamedTuple):
    """One page of a list. `last`: nothing follows."""

    items: list[tuple[msgspec.Raw, Item]]
    last: bool


def pages(
    account: Account, account_sid: str, resource: str, params: Params | None = None, *, size: int = PAGE_SIZE
) -> Iterator[Listed]:
    """Follow `next_page_uri` word for word: it carries the keyset token that keeps new arrivals from shifting pages."""
    into: type[_Messages] | type[_Numbers] = _Messages if resource == "Messages" else _Numbers
    path: str | None = f"/2010-04-01/Accounts/{account_sid}/{resource}.json"
    query: Params | None = {"PageSize": size, **dict(params or {})}
    seen: set[str] = set()
    empty = 0
    while path:
        answer = account.get(path, into, params=query)
        items = [(raw, read_item(raw)) for raw in answer.items]
        only_this_account(account, account_sid, [item for _, item in items])
        following = answer.next_page_uri or None
        empty = 0 if items else empty + 1
        if following and (following in seen or empty == 2):
            raise ContractChanged(
                f"the list of {resource} does not come to an end.",
                connection=account.connection,
                fix="The cursor did not move past it; report this with the time of the run.",
            )
        yield Listed(items, last=following is None)
        if following:
            seen.add(following)
            account.own(following)  # refuses another host
        path, query = following, None


def only_this_account(account: Account, account_sid: str, items: Sequence[Item]) -> None:
    if any(item.account_sid not in ("", account_sid) for item in items):
        raise ContractChanged(
            "Twilio answered with records of another account.",
            connection=account.connection,
            fix="Nothing of that answer was stored. Check account_sid, then tell Twilio's support.",
        )
