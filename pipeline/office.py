"""The parts of one Leadtrail home, opened together: settings, clients, store. Every command and every asset starts here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial

from sqlalchemy import Engine

from connectors.base import Connector
from pipeline.clients import ClientConfig, ClientsFileError, ConnectionConfig, load_clients
from pipeline.directory import write_directory
from pipeline.settings import Settings
from pipeline.store.connections import load_states
from pipeline.store.engine import open_store
from pipeline.sync import Outcome, Workshop, sync


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
        """Connections, optionally of one client or provider. Raises ClientsFileError if a name fits none."""
        clients = self.clients()
        if client and client not in {one.client_id for one in clients}:
            raise ClientsFileError(f"There is no client {client!r} in {self.settings.clients_file}.")
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
        return self.workshop.connector(found[0])[0]

    def sync(
        self,
        *,
        now: datetime,
        client: str = "",
        provider: str = "",
        streams: set[tuple[str, str]] | None = None,
        on_done: Callable[[Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Sync what the clients file names; see `pipeline.sync.sync`."""
        configs = self.connections(client=client, provider=provider)
        return sync(self.workshop, configs, now=now, streams=streams, on_done=on_done)

    def write_directory(self) -> None:
        """Tell the next build who is served and how their connections stand."""
        write_directory(self.settings.home / "directory", self.clients(), load_states(self.engine))

    def webhook_connectors(self) -> Mapping[tuple[str, str], Callable[[], Connector]]:
        """How to make each connection's connector; for the intake, which makes them on demand."""
        return {(config.client_id, config.provider): partial(self._make, config) for config in self.connections()}

    def _make(self, config: ConnectionConfig) -> Connector:
        return self.workshop.connector(config)[0]
