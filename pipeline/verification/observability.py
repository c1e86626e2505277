"""Whether somebody would learn of a failure: Dagster's daemons beat, and what shall watch is switched on."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from pipeline.doctor import Finding

QUERY = """
{
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
  repositoriesOrError {
    ... on RepositoryConnection {
      nodes { sensors { name sensorState { status } } schedules { name scheduleState { status } } }
    }
  }
}
"""


def observability(dagster: str, http: httpx.Client) -> Iterator[Finding]:
    answer = http.post(f"{dagster}/graphql", json={"query": QUERY})
    if answer.status_code != 200 or answer.json().get("errors"):
        yield Finding(
            "problem", "observability", f"Dagster answers {answer.status_code}", "See logs/dagster.log in the home."
        )
        return
    data = answer.json()["data"]
    daemons = data["instance"]["daemonHealth"]["allDaemonStatuses"]
    dead = sorted(one["daemonType"] for one in daemons if one["required"] and not one["healthy"])
    if dead:
        yield Finding("problem", "observability", f"not beating: {', '.join(dead)}", "See logs/daemon.log in the home.")
    else:
        yield Finding("ok", "observability", f"{sum(one['required'] for one in daemons)} daemons beat")
    nodes = data["repositoriesOrError"].get("nodes", [])
    watches = [
        (one["name"], (one.get("sensorState") or one.get("scheduleState"))["status"])
        for node in nodes
        for one in (*node["sensors"], *node["schedules"])
    ]
    off = sorted(name for name, state in watches if state != "RUNNING")
    if not watches:
        yield Finding(
            "problem", "observability", "Dagster has loaded none of our sensors", "See logs/code.log in the home."
        )
    elif off:
        yield Finding(
            "warn", "observability", f"switched off: {', '.join(off)}", "Switch them on in Dagster, or know why not."
        )
    else:
        yield Finding("ok", "observability", f"all {len(watches)} sensors and schedules are on")
