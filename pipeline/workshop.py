"""What a process needs to make connectors: settings, secrets, one HTTP pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

from connectors.base import Connector
from connectors.http import Http
from connectors.oauth import Tokens
from connectors.registry import connector_class
from pipeline.clients import ConnectionConfig
from pipeline.options import Lookup, build_options, options_print, secret_lookup
from pipeline.settings import Settings
from pipeline.store.sealed import Sealed, load_key
from pipeline.store.tokens import StoredVault


class Workshop:
    """What a process needs to sync: built once, used by all threads."""

    def __init__(self, settings: Settings, engine: Engine, *, http: Http | None = None) -> None:
        self.settings, self.engine = settings, engine
        self.http = http or Http()
        self.sealed = Sealed(engine, load_key(settings.key, settings.home))
        self.lookup: Lookup = secret_lookup(settings, self.sealed.get)

    def connector(self, config: ConnectionConfig) -> tuple[Connector, str]:
        """The connection's connector, and the fingerprint of its settings."""
        options = build_options(config, self.settings, self.lookup)[0]
        return self._made(config, options), options_print(config, options)

    def accepting(self, config: ConnectionConfig) -> list[Connector]:
        """Its connectors for webhooks: while a secret is being replaced, the old one is good as well."""
        return [self._made(config, options) for options in build_options(config, self.settings, self.lookup)]

    def _made(self, config: ConnectionConfig, options: Any) -> Connector:
        vault = StoredVault(self.engine, self.sealed, config.name, self.http.clock.now)
        return connector_class(config.provider)(options, connection=config.name, http=self.http, vault=vault)

    def tokens(self, configs: Sequence[ConnectionConfig]) -> dict[tuple[str, str], Tokens]:
        """What is stored of those whose credential rotates, by (client, provider). Raises KeyProblem."""
        stored, clock = set(self.sealed.names()), self.http.clock.now
        vaults = {
            (one.client_id, one.provider): StoredVault(self.engine, self.sealed, one.name, clock)
            for one in configs
            if f"oauth:{one.name}" in stored
        }
        return {whose: tokens for whose, vault in vaults.items() if (tokens := vault.load()) is not None}
