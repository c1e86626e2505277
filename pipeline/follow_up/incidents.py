"""Incidents: one for each cause, however many holds, runs or outputs show it.

Holds of one cause and scope are one client's incident; if two clients or more show it, it is one incident of the house (their
provider is down, or our intake is). A Dagster job that fails again and again for one reason is one incident, until it succeeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection

from pipeline.store.holds import LEADTRAIL, Cause, Row, open_holds
from pipeline.store.incidents import open_incidents, report, resolve

HOLD, RUN, LOOK = "hold:", "run:", "look:"


def follow_holds(connection: Connection, opened: Collection[str], now: datetime) -> None:
    """Open and resolve the incidents of holds, as holds stand. `opened`: keys of those that are new; each is a symptom."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for hold in open_holds(connection):
        groups[hold["scope"], hold["cause"]].append(hold)
    open_keys = {one["open_key"] for one in open_incidents(connection)}
    standing = set()
    for (scope, cause), holds in groups.items():
        clients = sorted({hold["client_id"] for hold in holds})
        client_id = clients[0] if len(clients) == 1 else ""
        key = f"{client_id}|{HOLD}{scope}:{cause}"
        standing.add(key)
        for hold in holds:
            if key not in open_keys or hold["open_key"] in opened:
                report(
                    connection,
                    f"{HOLD}{scope}:{cause}",
                    client_id=client_id,
                    title=f"{client_id or f'{len(clients)} clients'}: {scope} is on hold ({cause})",
                    evidence=hold["evidence"],
                    owner=hold["owner"],
                    recovery_rule=hold["recovery_rule"],
                    now=now,
                )
    _resolve(connection, HOLD, now, but=standing)


def not_looked_for(connection: Connection, causes: Sequence[Cause], owner: str, now: datetime) -> None:
    """Looking for these causes broke; looking for the others did not."""
    for cause in causes:
        report(
            connection,
            f"{LOOK}{cause}",
            title=f"Nobody knows whether there is a {cause} problem",
            evidence="Looking for it failed; see the log. Holds of this kind neither open nor end meanwhile.",
            owner=owner,
            recovery_rule="Run `leadtrail doctor`. It is resolved by the next look that succeeds.",
            now=now,
        )
    _resolve(connection, LOOK, now, but={f"|{LOOK}{cause}" for cause in causes})


def failure_incident(
    connection: Connection, *, run_id: str, job: str, error_class: str, owner: str, now: datetime, step: str = ""
) -> bool:
    """A run failed: open its cause's incident, or count one more symptom. The cause is the job, the step and the kind of error,
    never the run. True if it is new."""
    where = f"{job} at {step}" if step else job
    return report(
        connection,
        f"{RUN}{job}:{step}:{error_class}",
        title=f"{where} fails ({error_class})",
        evidence=f"Run {run_id}, the first one of them. Its log in Dagster has the error.",
        owner=owner,
        recovery_rule=f"Mend what the log says. It is resolved by the next run of {job} that succeeds.",
        now=now,
    )


def job_succeeded(connection: Connection, *, job: str, now: datetime) -> int:
    """A run of this job succeeded: what made it fail is over. Returns how many incidents that resolved."""
    return _resolve(connection, f"{RUN}{job}:", now)


def _resolve(connection: Connection, prefix: str, now: datetime, *, but: Collection[str] = ()) -> int:
    resolved = 0
    for one in open_incidents(connection):
        client_id, _, cause = one["open_key"].partition("|")
        if cause.startswith(prefix) and one["open_key"] not in but:
            resolved += resolve(connection, cause, now, client_id=client_id, by=LEADTRAIL)
    return resolved
