"""What is queued reaches its provider: claimed through the gate, handed over once, and asked for where nobody knows.

Several workers share the queue, but never two on one client's channel: a provider that makes one client wait stops nobody else,
and a person's messages keep their order.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from connectors.base import SETTLES, Connector, ConnectorError, TransientError
from connectors.delivery import Deliverer, Unconfirmable, Unconfirmed, Undeliverable
from connectors.http import Clock, Http, writing_until
from pipeline.clients import ClientConfig, ClientsFileError
from pipeline.crash_points import crash_here
from pipeline.follow_up.failures import A_PERSON_DECIDES, Aftermath
from pipeline.follow_up.gate import UNREADABLE, Gate
from pipeline.follow_up.holding import CARRIERS
from pipeline.follow_up.messages import message_of
from pipeline.follow_up.published import Published
from pipeline.store import audit as audit_store
from pipeline.store import outputs as queue
from pipeline.store.sealed import KeyProblem
from pipeline.store.unconfirmed import ask_later, resolve_unknown, to_be_asked_for
from pipeline.workshop import Workshop

if TYPE_CHECKING:
    from pipeline.office import Office

log = logging.getLogger("leadtrail.deliver")

Row = Mapping[str, Any]
WORKERS = 4
IN_THE_CRM = ("crm_task", "crm_note")
PREPARED = "crm.prepared"
ASK_AGAIN = timedelta(minutes=1)


@dataclass
class Delivery:
    """What a delivery run did: outputs by what became of them; `recovered` counts those whose worker was gone."""

    outcomes: Counter[str] = field(default_factory=Counter)
    recovered: dict[str, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    output_ids: list[str] = field(default_factory=list)


def deliver(
    office: Office,
    *,
    clock: Clock | None = None,
    seconds: float = 50.0,
    workers: int = WORKERS,
    settles: timedelta = SETTLES,
) -> Delivery:
    """Deliver what is due, until nothing is or `seconds` are over (what is under way is finished). Raises NotPublished."""
    clock = clock or office.workshop.http.clock
    clients = {one.client_id: one for one in office.clients()}
    shop = Workshop(office.settings, office.engine, http=Http(clock=clock))
    try:
        with Published.opened(office.settings) as published:
            run = _Run(shop, clients, published, clock, settles)
            run.delivery.recovered = queue.recover(office.engine, clock.now())
            run.ask()
            deadline = clock.monotonic() + seconds
            with ThreadPoolExecutor(workers, thread_name_prefix="deliver") as pool:
                for worker in [pool.submit(run.work, deadline) for _ in range(workers)]:
                    worker.result()
            return run.delivery
    finally:
        shop.http.close()


class _Run:
    """One delivery run's shared parts."""

    def __init__(
        self,
        shop: Workshop,
        clients: Mapping[str, ClientConfig],
        published: Published,
        clock: Clock,
        settles: timedelta,
    ) -> None:
        self.shop, self.engine, self.clients = shop, shop.engine, clients
        self.clock, self.settles = clock, settles
        self.gate = Gate(published, clients)
        self.aftermath = Aftermath(shop.engine, published, clients)
        self.delivery = Delivery()
        self._lock = threading.Lock()
        self._busy: set[tuple[str, str]] = set()
        self._carriers: dict[tuple[str, str], tuple[Connector, Deliverer[Any]]] = {}
        self._preparing = threading.Lock()

    # ---- sending ----

    def work(self, deadline: float) -> None:
        while self.clock.monotonic() < deadline:
            claimed = self._claim()
            if claimed is None:
                if not queue.anything_due(self.engine, self.clock.now(), busy=self._taken()):
                    return
                continue
            try:
                outcome = self._send(claimed)
            finally:
                with self._lock:
                    self._busy.discard((claimed.row["client_id"], claimed.row["channel"]))
            with self._lock:
                self.delivery.outcomes[outcome] += 1
                self.delivery.output_ids.append(claimed.output_id)

    def _claim(self) -> queue.Claimed | None:
        with self._lock:
            claimed = queue.claim(self.engine, self.gate, now=self.clock.now(), limit=1, busy=self._busy)
            for one in claimed:
                self._busy.add((one.row["client_id"], one.row["channel"]))
        return next(iter(claimed), None)

    def _taken(self) -> set[tuple[str, str]]:
        with self._lock:
            return set(self._busy)

    def _send(self, claimed: queue.Claimed) -> str:
        crash_here("deliver: claimed")
        row = claimed.row
        if row["channel"] == "desk_task":  # it is where it should be as soon as it is stored
            if not queue.begin_sending(self.engine, claimed, self.gate, self.clock.now()):
                return "not sent"
            queue.delivered(self.engine, claimed, row["output_id"], self.clock.now(), detail="On the desk.")
            return "delivered"
        try:
            deliverer, message = self._ready(row, claimed.payload)
        except (ClientsFileError, KeyProblem, ConnectorError) as error:
            return self.aftermath.not_made(claimed, error, self.clock.now())
        except UNREADABLE as error:
            reason = f"What is to be sent could not be read ({type(error).__name__})."
            queue.failed(self.engine, claimed, "unreadable", reason, self.clock.now())
            return "failed"
        begun = self.clock.now()
        if not queue.begin_sending(self.engine, claimed, self.gate, begun):
            return "not sent"
        crash_here("deliver: about to send")
        try:
            with writing_until(begun + queue.WRITE_WITHIN):
                receipt = deliverer.deliver(message)
        except Exception as error:
            if not isinstance(error, ConnectorError):
                log.error("output %s: %s while it was sent", row["output_id"], type(error).__name__)
            return self.aftermath.of_sending(claimed, error, self.clock.now())
        crash_here("deliver: sent")
        queue.delivered(self.engine, claimed, receipt.provider_ref, self.clock.now(), detail=receipt.state)
        crash_here("deliver: recorded")
        return "delivered"

    def _ready(self, row: Row, payload: Mapping[str, Any]) -> tuple[Deliverer[Any], Any]:
        client = self.clients[row["client_id"]]
        connector, deliverer = self._carrier(client, row["channel"])
        return deliverer, message_of(row, payload, connector=connector, client=client, settings=self.shop.settings)

    def _carrier(self, client: ClientConfig, channel: str) -> tuple[Connector, Deliverer[Any]]:
        key = (client.client_id, channel)
        if key not in self._carriers:
            wanted = CARRIERS[channel]
            config = next((one for one in client.connections if one.provider in wanted), None)
            if config is None:
                raise ClientsFileError(f"{client.client_id} has no {wanted[0]} connection. Add it to the clients file.")
            connector = self.shop.connector(config)[0]
            deliverer = connector.deliverer(settles=self.settles)
            if channel in IN_THE_CRM:
                self._prepare(client.client_id, config.name, deliverer)
            self._carriers[key] = (connector, deliverer)
        return self._carriers[key]

    def _prepare(self, client_id: str, connection_name: str, deliverer: Deliverer[Any]) -> None:
        """Before the first delivery to a client's CRM: make there what makes a second task impossible. Where the CRM does not
        allow it, it is done without."""
        with self._preparing:
            with self.engine.connect() as connection:
                delivered = queue.ever_delivered(connection, client_id, IN_THE_CRM)
                if delivered or audit_store.has(connection, PREPARED, connection_name):
                    return
            health = deliverer.prepare()
            log.info("%s: %s", connection_name, health.message)
            if health.ok:
                with self.engine.begin() as connection:
                    said = {"said": health.message}
                    audit_store.note(connection, "leadtrail", PREPARED, connection_name, said, self.clock.now())

    # ---- asking ----

    def ask(self) -> None:
        """Ask for what may or may not have arrived. Only what surely did not goes back into the queue."""
        for row in to_be_asked_for(self.engine, self.clock.now()):
            self.delivery.asked[self._asked(row)] += 1

    def _asked(self, row: Row) -> str:
        output_id, now = row["output_id"], self.clock.now
        if row["client_id"] not in self.clients:
            return "left alone"
        if row["channel"] == "desk_task":
            resolve_unknown(self.engine, output_id, output_id, "the desk", now())
            return "found"
        try:
            deliverer, message = self._ready(row, json.loads(row["payload"]))
            receipt = deliverer.find(message, since=_first_sent(row))
        except Unconfirmable as error:
            self.aftermath.cannot_be_told(row, error, now())  # first: nobody asks again
            ask_later(self.engine, output_id, "unconfirmable", error.what, now() + A_PERSON_DECIDES, now())
            return "nobody knows"
        except Unconfirmed as error:
            ask_later(self.engine, output_id, "unconfirmed", error.what, error.ask_at, now())
            return "too early"
        except Undeliverable as error:
            with self.engine.begin() as connection:
                if queue.ended(connection, output_id, "unknown", error.reason, error.what, now()):
                    self.aftermath.undelivered(connection, row, error, now())
            return "failed"
        except (ClientsFileError, KeyProblem, ConnectorError) as error:
            what = error.what if isinstance(error, ConnectorError) else type(error).__name__
            later = getattr(error, "retry_at", None) if isinstance(error, TransientError) else None
            ask_later(self.engine, output_id, "not_asked", what, later or now() + ASK_AGAIN, now())
            return "not asked"
        found = receipt.provider_ref if receipt else None
        resolve_unknown(self.engine, output_id, found, "the provider", now())
        return "found" if receipt else "not there"


def _first_sent(row: Row) -> datetime:
    return datetime.fromisoformat(row["first_sent_at"] or row["created_at"])
