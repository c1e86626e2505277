"""The town of a home, served in a process of its own, in which people call and nobody answers.

    python -m bench.speed_to_lead.town HOME

Each line on standard input, `{"caller": 0, "to": "http://127.0.0.1:8910"}`, is one call: the nth past customer calls, nobody
picks up, and CallRail tells the intake. The answer is a line: which call it was, whose, and when the intake had acknowledged it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import httpx

from connectors.sandbox.callrail import SandboxCallRail
from connectors.sandbox.facts import Call, Client, Person, Town
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline.demo import Town as Kept
from pipeline.demo import point_at_town
from pipeline.settings import Settings

LONG_AGO = timedelta(days=45)  # so that a call now is about something new


def past_customers(town: Town) -> list[Person]:
    """People who have paid, and were not heard of since: their call is an urgent lead."""
    paid = {one.person_id for one in town.episodes if one.revenue_cents > 0 and one.opened_at < town.end - LONG_AGO}
    lately = {one.person_id for one in town.episodes if one.opened_at >= town.end - LONG_AGO}
    households = [one.household for one in town.people]
    alone = {one.person_id for one in town.people if households.count(one.household) == 1 or not one.household}
    return [one for one in town.people if one.person_id in paid & alone - lately and one.phones]


def miss_call(sandbox: RunningSandbox, client: Client, person: Person, number: int, to: str) -> dict[str, object]:
    """One call that nobody answers, and its webhook."""
    callrail = sandbox.providers["callrail"]
    assert isinstance(callrail, SandboxCallRail)
    book = callrail.book(client.client_id, f"{sandbox.origin}/callrail")
    at = datetime.now(UTC) - timedelta(seconds=20)
    fact = Call(
        n=number, client_id=client.client_id, person_id=person.person_id, episode_id="", at=at, changed_at=at,
        direction="inbound", line=client.lines[0], phone=person.phones[0], caller_name="", answered=False, voicemail=False,
        seconds=20, prior_calls=3, staff_email="", spam=False, lead_status="", tags=(), value_cents=None, note="", service="",
    )  # fmt: skip
    item = book.add("calls", fact)
    push = next(one for one in callrail.pushes() if item.id.encode() in one.body)
    url = f"{to}/webhooks/{push.client_id}/callrail{push.tail}"
    headers = {**push.sign(url), "content-type": "application/json"}
    answer = httpx.post(url, content=push.body, headers=headers, timeout=60)
    answer.raise_for_status()
    return {"call_id": item.id, "client_id": client.client_id, "acknowledged": time.time()}


def main() -> None:
    settings = Settings.from_env({"LEADTRAIL_HOME": sys.argv[1]})
    kept = Kept(**json.loads((settings.home / "bench-town.json").read_text()))
    made = {name: value for name, value in asdict(kept).items() if name != "end"}
    sandbox = start_sandbox(**made, end=datetime.fromisoformat(kept.end).replace(tzinfo=UTC))
    point_at_town(settings, {"port": kept.port, "env": sandbox.env})
    customers = past_customers(sandbox.town)
    clients = {one.client_id: one for one in sandbox.town.clients}
    print(json.dumps({"callers": len(customers), "origin": sandbox.origin}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        person = customers[asked["caller"]]
        number = 50_000_000 + int(time.time() * 10) % 10_000_000 + asked["caller"]
        said = miss_call(sandbox, clients[person.client_id], person, number, asked["to"])
        print(json.dumps(said), flush=True)
    sandbox.stop()


if __name__ == "__main__":
    main()
