"""Rows of a CSV that a client exported by hand, as records: the way in for providers without history or a list to read.

Neither Angi nor Thumbtack documents its export's columns, so columns are recognised by their names, and a person can say
which is which. The row itself is kept whole next to our reading of it: `{"columns": {…}, "lead_id": …, …}`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import msgspec

from connectors.base import ConfigError, Page, Record

PAGE_ROWS = 500
# A spreadsheet writes long numbers as 5.61234E+17: the digits are gone, so that is no id any more.
ROUNDED_ID = re.compile(r"\d+(?:\.\d+)?[eE]\+?\d+")
DAY_FORMATS = ("%m/%d/%Y", "%m/%d/%y", "%m-%d-%Y", "%b %d, %Y", "%B %d, %Y", "%Y/%m/%d")
TIME_FORMATS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True)
class ExportFormat:
    """`fields`: our field -> column names it goes by, best first. Names are compared without case and punctuation."""

    stream: str
    fields: Mapping[str, tuple[str, ...]]

    def read(self, rows: Iterator[Mapping[str, str]], *, mapping: Mapping[str, str], connection: str) -> Iterator[Page]:
        """Pages of records. A row without an id is known by its content, so the same file again changes nothing."""
        first = next(rows, None)
        if first is None:
            return
        columns = self._columns([name for name in first if name], mapping, connection)
        records = []
        for row in chain([first], rows):
            if not any((value or "").strip() for value in row.values() if isinstance(value, str | None)):
                continue
            records.append(_record(row, columns))
            if len(records) == PAGE_ROWS:
                yield Page(self.stream, records)
                records = []
        if records:
            yield Page(self.stream, records)

    def _columns(self, names: list[str], mapping: Mapping[str, str], connection: str) -> dict[str, str]:
        """Our field -> the file's column. What a person says wins over what we recognise."""
        unknown = [
            f"{ours}={theirs}" for ours, theirs in mapping.items() if ours not in self.fields or theirs not in names
        ]
        if unknown:
            raise ConfigError(
                f"the mapping {', '.join(unknown)} does not fit the file.",
                connection=connection,
                fix=f"Fields are {', '.join(self.fields)}; the file's columns are {', '.join(names)}.",
            )
        columns = dict(mapping)
        plain = {_plain(name): name for name in reversed(names)}
        for ours, candidates in self.fields.items():
            free = (plain[_plain(name)] for name in candidates if _plain(name) in plain)
            found = next((name for name in free if name not in columns.values()), None)
            if ours not in columns and found:
                columns[ours] = found
        if not columns.keys() & {"lead_id", "name", "phone", "email"}:
            raise ConfigError(
                f"no column of the file says who the lead is (columns: {', '.join(names)}).",
                connection=connection,
                fix="Say which column is which, e.g. lead_id=Lead Number, name=Customer; then import again.",
            )
        return columns


def _record(row: Mapping[str, str], columns: Mapping[str, str]) -> Record:
    values = {ours: (row.get(theirs) or "").strip() or None for ours, theirs in columns.items()}
    lead_id = (values.get("lead_id") or "").lstrip("#'")
    values["lead_id"] = lead_id if lead_id and not ROUNDED_ID.fullmatch(lead_id) else None
    made_at = parse_time(values.get("created_at") or "")
    values["created_at"] = made_at.isoformat().replace("+00:00", "Z") if made_at else None
    columns_only = {key: value for key, value in row.items() if isinstance(key, str)}
    payload = msgspec.json.encode({"columns": columns_only, **values})
    content = hashlib.sha256(msgspec.json.encode(columns_only, order="sorted")).hexdigest()[:32]
    return Record(values["lead_id"] or f"sha256:{content}", payload, occurred_at=made_at)


def parse_time(text: str) -> datetime | None:
    """A time as US exports write it. Without an offset it is taken as UTC; a bare date is its noon, which is the same day
    in every US time zone."""
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
        day_only = len(text) <= 10
    except ValueError:
        for day in DAY_FORMATS:
            for clock in TIME_FORMATS:
                try:
                    moment, day_only = datetime.strptime(text, day + clock).replace(tzinfo=UTC), not clock
                except ValueError:
                    continue
                return moment.replace(hour=12) if day_only else moment
        return None
    if day_only:
        moment = moment.replace(hour=12)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
