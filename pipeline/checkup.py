"""Trying connections, and saying what a person must do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.clients import ClientsFileError, ConnectionConfig
from pipeline.office import Office
from pipeline.store.sealed import KeyProblem


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
        except (ClientsFileError, KeyProblem) as error:
            return CheckResult(config.name, False, str(error), "Mend the clients file or the secret it names.")
        try:
            health = connector.check()
        except Exception as error:  # a bug in one must not hide the others
            return CheckResult(config.name, False, f"the check itself failed ({type(error).__name__}).", "Report this.")
        return CheckResult(config.name, health.ok, health.message, health.fix)

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(try_one, office.connections(client=client, provider=provider)))
