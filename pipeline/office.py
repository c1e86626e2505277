"""The parts of one Leadtrail home, opened together: settings, clients, store. Every command and every asset starts here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial

from sqlalchemy import Engine

from connectors.base import Connector
from connectors.oauth import Tokens
from connectors.registry import CONNECTORS, reads_from
from pipeline.clients import ClientConfig, ClientsFileError, ConnectionConfig, load_clients
from pipeline.connection_run import Outcome
from pipeline.directory import write_directory
from pipeline.follow_up.export import rule_rows
from pipeline.follow_up.hold_export import hold_rows
from pipeline.settings import Settings
from pipeline.store import audit
from pipeline.store.audit import BrokenChain
from pipeline.store.audit_heads import keep_head, verify_heads
from pipeline.store.connections import load_states
from pipeline.store.engine import open_store
from pipeline.store.sealed import KeyProblem, load_key
from pipeline.sync import sync
from pipeline.workshop import Workshop


@dataclass(frozen=True)
class Office:
    settings: Settings

    @classmethod
    def from_env(cls) -> Office:
        return cls(Settings.from_env())

    @cached_property
    def engine(self) -> Engine:
        return open_store(self.settings.store_url)

    @cached_property
    def workshop(self) -> Workshop:
        return Workshop(self.settings, self.engine)

    def clients(self) -> list[ClientConfig]:
        return load_clients(self.settings)

    def connections(self, *, client: str = "", provider: str = "") -> list[ConnectionConfig]:
        """Connections, optionally of one client or provider. Raises ClientsFileError for a name that nothing has."""
        clients = self.clients()
        if provider and provider not in CONNECTORS:
            raise ClientsFileError(f"No provider is called {provider!r}; there are {', '.join(CONNECTORS)}.")
        if client and client not in {one.client_id for one in clients}:
            names = ", ".join(sorted(one.client_id for one in clients)[:20]) or "none"
            raise ClientsFileError(f"There is no client {client!r} in {self.settings.clients_file}; it has {names}.")
        return [
            connection
            for one in clients
            for connection in one.connections
            if (not client or one.client_id == client) and (not provider or connection.provider == provider)
        ]

    def connector(self, client_id: str, provider: str) -> Connector:
        found = self.connections(client=client_id, provider=provider)
        if not found:
            raise ClientsFileError(f"{client_id} has no {provider} connection in {self.settings.clients_file}.")
        try:
            return self.workshop.connector(found[0])[0]
        except ClientsFileError as mistake:
            raise ClientsFileError(f"{found[0].name}: {mistake}") from None

    def sync(
        self,
        *,
        now: datetime,
        client: str = "",
        provider: str = "",
        streams: set[tuple[str, str]] | None = None,
        on_done: Callable[[Outcome], None] | None = None,
        drain_only: bool = False,
    ) -> list[Outcome]:
        """Sync what the clients file names; see `pipeline.sync.sync`."""
        configs = [one for one in self.connections(client=client, provider=provider) if reads_from(one.provider)]
        return sync(self.workshop, configs, now=now, streams=streams, on_done=on_done, drain_only=drain_only)

    def write_directory(self) -> None:
        """Tell the next build who is served, how their connections stand, which rules are in force and what is on hold."""
        clients, tokens = self.clients(), self.tokens()
        with self.engine.connect() as connection:
            rules = rule_rows(connection, [one.client_id for one in clients])
            holds = hold_rows(connection, tokens)
        write_directory(self.settings.home / "directory", clients, load_states(self.engine), rules, holds)

    def tokens(self) -> dict[tuple[str, str], Tokens]:
        """What is stored of connections whose credentials rotate; none if they can't be opened (doctor says why)."""
        try:
            return self.workshop.tokens(self.connections())
        except KeyProblem:
            return {}

    def keep_audit_head(self, now: datetime) -> None:
        """Note once a day, outside of the store, how far the audit log has come."""
        keep_head(self.engine, self.settings.home, load_key(self.settings.key, self.settings.home), now)

    def audit(self) -> tuple[int, BrokenChain | None]:
        """(rows of the audit log, the first that does not hold): the chain, and the heads noted day by day."""
        rows, broken = audit.verify(self.engine)
        if broken is None:
            key = load_key(self.settings.key, self.settings.home)
            broken = verify_heads(self.engine, self.settings.home, key)[1]
        return rows, broken

    def webhook_connectors(self) -> Mapping[tuple[str, str], Callable[[], Sequence[Connector]]]:
        """How to make each connection's connectors, by the clients file and the secrets as they are now; for the intake."""
        shop = Workshop(self.settings, self.engine, http=self.workshop.http)
        return {(config.client_id, config.provider): partial(shop.accepting, config) for config in self.connections()}

    def version(self) -> tuple[object, ...]:
        """Changes with the clients file, the secrets file (or its permissions) and the stored secrets."""
        files = [path for path in (self.settings.clients_file, self.settings.secrets_file) if path]
        times = [path.stat().st_ctime_ns if path.exists() else 0 for path in files]
        return (*times, *self.workshop.sealed.version())
