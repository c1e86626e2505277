"""What a sync did, as people read it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from rich.table import Table

from pipeline.connection_run import Outcome


def sync_table(outcomes: Sequence[Outcome]) -> Table:
    """One line for each provider: clients, new records, webhooks, and what did not finish."""
    by_provider: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_provider[outcome.provider].append(outcome)
    table = Table("provider", box=None, header_style="bold")
    for title in ("clients", "new records", "webhooks", "unfinished"):
        table.add_column(title, justify="right")
    table.add_column("what came in")
    for provider, group in by_provider.items():
        streams: Counter[str] = sum((one.landed for one in group), Counter())
        unfinished = [one for one in group if one.state != "ok"]
        table.add_row(
            provider,
            f"{len(group):,}",
            f"{streams.total():,}",
            f"{sum(one.webhooks for one in group):,}",
            f"[red]{len(unfinished)}[/red]" if unfinished else "0",
            ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in streams.most_common() if count)
            or "nothing new",
        )
    return table
