"""The town of a home, served in a process of its own, in which people call and nobody answers.

    python -m bench.speed_to_lead.town HOME

Each line on standard input, `{"caller": 0, "to": "http://127.0.0.1:8910"}`, is one call: the nth past customer calls, nobody
picks up, and CallRail tells the intake. The answer is a line: which call it was, whose, and when the intake had acknowledged it.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import duckdb
import httpx

from connectors.sandbox.callrail import SandboxCallRail
from connectors.sandbox.facts import Call, Client
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline.demo import Town as Kept
from pipeline.demo import point_at_town
from pipeline.processes import NICE, stand_back
from pipeline.settings import Settings

# who has paid, not lately, and is alone on the number: their call is about something new, and urgent
PAST_CUSTOMERS = """
    select contacts.client_id, contacts.phone
    from follow_up.follow_up_contacts as contacts
    inner join timeline.dim_leads as leads on contacts.lead_id = leads.lead_id
    where contacts.phone is not null
    group by contacts.client_id, contacts.phone
    having count(distinct contacts.person_id) = 1 and max(leads.first_paid_at) is not null and max(contacts.crm_contact_id) <> ''
        and max(leads.last_touch_at) < max(leads.as_of) - interval 45 day
    order by contacts.client_id, contacts.phone
"""


def past_customers(settings: Settings) -> list[tuple[str, str]]:
    """(client_id, phone), the clients in turn."""
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as published:
        found = published.execute(PAST_CUSTOMERS).fetchall()
    places: Counter[str] = Counter()
    ranked = []
    for client_id, phone in found:
        places[client_id] += 1
        ranked.append((places[client_id], client_id, phone))
    return [(client_id, phone) for _, client_id, phone in sorted(ranked)]


def miss_call(sandbox: RunningSandbox, client: Client, phone: str, number: int, to: str) -> dict[str, object]:
    """One call that nobody answers, and its webhook."""
    callrail = sandbox.providers["callrail"]
    assert isinstance(callrail, SandboxCallRail)
    book = callrail.book(client.client_id, f"{sandbox.origin}/callrail")
    at = datetime.now(UTC) - timedelta(seconds=20)
    fact = Call(
        n=number, client_id=client.client_id, person_id="", episode_id="", at=at, changed_at=at,
        direction="inbound", line=client.lines[0], phone=phone, caller_name="", answered=False, voicemail=False,
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
    stand_back(NICE["sync"])  # a provider is not on our machine: it yields, as the sync does that it serves
    settings = Settings.from_env({"LEADTRAIL_HOME": sys.argv[1]})
    kept = Kept(**json.loads((settings.home / "bench-town.json").read_text()))
    made = {name: value for name, value in asdict(kept).items() if name != "end"}
    sandbox = start_sandbox(**made, end=datetime.fromisoformat(kept.end).replace(tzinfo=UTC))
    point_at_town(settings, {"port": kept.port, "env": sandbox.env})
    customers = past_customers(settings)
    clients = {one.client_id: one for one in sandbox.town.clients}
    print(json.dumps({"callers": len(customers), "origin": sandbox.origin}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        client_id, phone = customers[asked["caller"]]
        number = 50_000_000 + int(time.time() * 10) % 10_000_000 + asked["caller"]
        said = miss_call(sandbox, clients[client_id], phone, number, asked["to"])
        print(json.dumps(said), flush=True)
    sandbox.stop()


if __name__ == "__main__":
    main()
