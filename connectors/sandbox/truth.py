"""What really happened: who is who, which records are whose, and what each episode came to.

    {"seed", "clients": [{"client_id", "people": [{"person_id", "names", "phones", "emails", "addresses",
      "records": [{"provider", "stream", "record_id"}], "episodes": [{"booked", "revenue_cents", "channel"}]}]}]}

Records of nobody (spam, robocalls) and of the firm itself are left out. `addresses` are street lines as records spell
them. Episodes stand in order of time; their revenue is the money kept by the end of the town.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from connectors.sandbox.facts import Episode, Person, Town
from connectors.sandbox.provider import SandboxProvider

Records = dict[tuple[str, str], list[dict[str, str]]]


def write_truth(path: Path, town: Town, providers: Iterable[SandboxProvider]) -> None:
    path.write_bytes(msgspec.json.encode(truth(town, providers)))


def truth(town: Town, providers: Iterable[SandboxProvider]) -> dict[str, Any]:
    records: Records = defaultdict(list)
    for provider in providers:
        for client_id, stream, record_id, person_id in provider.records():
            if person_id:
                records[client_id, person_id].append(
                    {"provider": provider.name, "stream": stream, "record_id": record_id}
                )
    episodes: dict[str, list[Episode]] = defaultdict(list)
    for episode in town.episodes:
        episodes[episode.person_id].append(episode)
    people: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for person in town.people:
        known = records[person.client_id, person.person_id]
        people[person.client_id].append(_person(person, known, episodes[person.person_id]))
    clients = [{"client_id": client.client_id, "people": people[client.client_id]} for client in town.clients]
    return {"seed": town.seed, "clients": clients}


def _person(person: Person, records: list[dict[str, str]], episodes: list[Episode]) -> dict[str, Any]:
    return {
        "person_id": person.person_id,
        "names": [person.name],
        "phones": person.phones,
        "emails": person.emails,
        "addresses": [person.address.street],
        "records": records,
        "episodes": [
            {"booked": episode.booked, "revenue_cents": episode.revenue_cents, "channel": episode.channel}
            for episode in episodes
        ],
    }
