"""What a replay showed, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table

WORDS = {
    "reply": "they had answered",
    "booked": "they had booked",
    "paid": "they had paid",
    "lost": "the lead was lost",
    "opt_out": "they had opted out",
    "human_takeover": "somebody was on it",
    "wrong_number": "it was a wrong number",
    "behind_urgent": "an urgent task was open until it was too late",
    "known_too_late": "we knew too late",
    "quiet_hours": "quiet hours",
    "frequency": "they had messages enough",
}
_COLUMNS = (
    ("asked", "asked_for"),
    ("stopped", "stopped"),
    ("late", "expired"),
    ("refused", "refused"),
    ("later", "later"),
    ("sent", "sent"),
    ("moved", "moved"),
)


def rules_table(told: Sequence[Mapping[str, Any]]) -> Table:
    """One line for each rule, as if it were the only one."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("rule", no_wrap=True)
    for title in ("leads", *(title for title, _ in _COLUMNS)):
        table.add_column(title, justify="right")
    for one in told:
        steps = one["by_step"].values()
        counts = [one["leads"], *(sum(step[name] for step in steps) for _, name in _COLUMNS)]
        table.add_row(one["rule"], *(f"{count:,}" if count else "·" for count in counts))
    return table


def steps_table(told: Mapping[str, Any]) -> Table:
    """One line for each step: what was asked for, and what became of it."""
    table = Table("step", box=None, header_style="bold")
    for title, _ in _COLUMNS:
        table.add_column(title, justify="right")
    for step, counts in told["by_step"].items():
        table.add_row(step, *(f"{counts[name]:,}" if counts[name] else "·" for _, name in _COLUMNS))
    return table


def replay_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What the table does not say."""
    channels = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in told["by_channel"].items())
    sent, leads = f"{told['would_go']:,}", _number(told["leads"], "lead")
    yield f"{period_in_words(told)} it would have sent {sent} to {leads}: {channels or 'nothing'}."
    if len(told["clients"]) > 1 and told["by_client"]:
        yield "  for " + ", ".join(f"{name} {count:,}" for name, count in told["by_client"].items())
    yield from _reasons("Stopped", told["stopped"])
    yield from _reasons("Not sent, because", told["too_late"])
    if told["put_off_behind_urgent"]:
        yield f"Put off while an urgent task was open: {told['put_off_behind_urgent']:,}."
    yield from _reasons("Refused by the gate", told["refused"])
    yield from _reasons("Moved by the gate", told["moved"])
    if told["not_due_yet"]:
        yield f"Not due yet when the last news came: {told['not_due_yet']:,}."
    if other := told["compared_with"]:
        yield (
            f"Against {told['rule']}@{other['version']}, which is in force and would have sent {other['would_go']:,}: "
            f"{other['added']:,} more, {other['removed']:,} fewer, {other['retimed']:,} at another time."
        )


def period_in_words(told: Mapping[str, Any]) -> str:
    start, end = (datetime.fromisoformat(told[name]) for name in ("from", "to"))
    last_day = end - timedelta(microseconds=1)  # the period ends just before its end
    return f"From {start:%d %b %Y} to {last_day:%d %b %Y}"


def hours_of_day(told: Mapping[str, Any], *, width: int = 40) -> Iterator[str]:
    """When it would have gone, on the client's clock."""
    hours = {int(hour): count for hour, count in told["by_hour"].items()}
    most = max(hours.values(), default=0)
    for hour in range(min(hours, default=0), max(hours, default=-1) + 1):
        count = hours.get(hour, 0)
        yield f"  {hour:02d}:00  {'█' * round(width * count / most):{width}}  {count or ''}".rstrip()


def _reasons(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        said = (f"{WORDS.get(code, code.replace('_', ' '))} {count:,}" for code, count in counts.items())
        yield f"{title}: {', '.join(said)}."


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
