"""Trying connections, and saying what a person must do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.clients import ClientsFileError, ConnectionConfig
from pipeline.office import Office


@dataclass(frozen=True)
class CheckResult:
    connection: str
    ok: bool
    message: str
    fix: str


def check_connections(office: Office, *, client: str = "", provider: str = "") -> list[CheckResult]:
    """One result for each connection, in the clients file's order. Asks the providers; changes nothing."""

    def try_one(config: ConnectionConfig) -> CheckResult:
        try:
            connector, _ = office.workshop.connector(config)
        except ClientsFileError as error:
            return CheckResult(config.name, False, str(error), "Mend the clients file or the secret it names.")
        health = connector.check()
        return CheckResult(config.name, health.ok, health.message, health.fix)

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(try_one, office.connections(client=client, provider=provider)))
