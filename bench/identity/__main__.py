"""How well people and leads are recovered from what providers hold, against what really happened in a made-up town.

    python -m bench.identity [--parts 5] [--seed 90210] [--json FILE]

A part is ten clients with twelve months each, some 19,000 people. The seed is none that identity was built or tuned with.
Ends with an error if a target is missed.

precision   of all pairs of records that we say are one person's, how many are
recall      of all pairs of records that are one person's, how many we say are
strangers   persons of ours that hold records of people of different addresses
leads       the n-th lead of a person against the person's n-th episode: booked or not, and the cents
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from bench.warehouse.__main__ import run
from bench.warehouse.town import KEPT, make_home, make_parts

TARGETS = {"precision": 0.999, "recall": 0.97, "booked": 0.99, "revenue": 0.99}
JOINED = """
create temp table joined as
select truth.*, coalesce(ours.person_id, 'none ' || row_number() over ()) as our_person
from truth
inner join intermediate.int_records as landed using (client_id, provider, stream, record_id) -- nobody could know of others
left join (
    select client_id, provider, stream, record_id, min(person_id) as person_id
    from timeline.fct_lead_events group by all
) as ours using (client_id, provider, stream, record_id)
"""
PAIRS = """
with groups as (
    select grouping_id(our_person, person) as kind, count(*) * (count(*) - 1) // 2 as pairs
    from joined group by grouping sets ((client_id, our_person, person), (client_id, our_person), (client_id, person))
)
select sum(pairs) filter (where kind = 0) as right_pairs, sum(pairs) filter (where kind = 1) as our_pairs,
    sum(pairs) filter (where kind = 2) as true_pairs
from groups
"""
STRANGERS = """
select client_id, our_person, list(distinct person order by person) as people
from joined group by client_id, our_person having count(distinct address) > 1 order by 1, 2
"""
LEADS = """
with held as (
    select client_id, person, our_person,
        row_number() over (partition by client_id, person order by count(*) desc, our_person) as place
    from joined group by client_id, person, our_person
),
leads as (
    select person_id, is_booked, revenue_cents, row_number() over (partition by person_id order by opened_at, lead_id) as nth
    from intermediate.int_leads
)
select count(*) as episodes,
    avg(cast(coalesce(leads.is_booked = episodes.booked, false) as int)) as booked,
    avg(cast(coalesce(leads.revenue_cents = episodes.revenue_cents, false) as int)) as revenue
from episodes
inner join held on episodes.client_id = held.client_id and episodes.person = held.person and held.place = 1
left join leads on held.our_person = leads.person_id and episodes.nth = leads.nth
"""


def people_of(folders: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for folder in folders:
        for client in msgspec.json.decode((folder / "truth.json").read_bytes())["clients"]:
            for person in client["people"]:
                yield client["client_id"], person


def compare(home: Path, folders: list[Path]) -> dict[str, Any]:
    records: list[tuple[str, ...]] = []
    episodes: list[tuple[Any, ...]] = []
    people = 0
    for client, person in people_of(folders):
        who, people = person["person_id"], people + 1
        records += [(client, who, person["addresses"][0], *one.values()) for one in person["records"]]
        episodes += [(client, who, n, *list(one.values())[:2]) for n, one in enumerate(person["episodes"], 1)]
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as warehouse:
        for name, columns, rows in (
            ("truth", ("client_id", "person", "address", "provider", "stream", "record_id"), records),
            ("episodes", ("client_id", "person", "nth", "booked", "revenue_cents"), episodes),
        ):
            warehouse.register(name, pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))))
        warehouse.execute(JOINED)
        right, ours, true = warehouse.execute(PAIRS).fetchone() or (0, 1, 1)
        mixed = warehouse.execute(STRANGERS).fetchall()
        count, booked, revenue = warehouse.execute(LEADS).fetchone() or (0, 0.0, 0.0)
    return {
        "people": people,
        "records": len(records),
        "precision": int(right) / int(ours),
        "recall": int(right) / int(true),
        "strangers": len(mixed),
        "examples": [str(one) for one in mixed[:10]],
        "episodes": count,
        "booked": booked,
        "revenue": revenue,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.identity", description="How well people and leads are recovered."
    )
    parser.add_argument("--parts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--json", type=Path, help="write the results here")
    args = parser.parse_args()
    home = KEPT / f"identity-{args.seed}-{args.parts}"
    landed = make_home(home, args.parts, args.seed)
    took = run("ours", "timeline", "--home", home)
    print(f"{landed:,} records built in {took['wall']:.0f} s (load {took['load']})", flush=True)
    found = compare(home, make_parts(args.parts, args.seed))
    print(
        f"{found['people']:,} people with {found['records']:,} records and {found['episodes']:,} episodes, seed {args.seed}"
    )
    met = found["strangers"] == 0
    print(f"{'met   ' if met else 'MISSED'}  no strangers joined: {found['strangers']} {found['examples'] or ''}")
    for name, target in TARGETS.items():
        reached = found[name] >= target
        met = met and reached
        print(f"{'met   ' if reached else 'MISSED'}  {name} at least {target}: {found[name]:.5f}")
    if args.json:
        args.json.write_text(json.dumps({**found, "seed": args.seed, "load": os.getloadavg()[0]}, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
