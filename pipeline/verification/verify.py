"""`leadtrail verify`: after a change, is the running system as it should be? One line for each check; the result is kept."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

import httpx
from sqlalchemy import Engine, RowMapping, insert, select

from pipeline.doctor import Finding, examine
from pipeline.office import Office
from pipeline.store.engine import stamp
from pipeline.store.schema import verifications
from pipeline.verification import pages
from pipeline.verification.addresses import Addresses
from pipeline.verification.observability import observability
from pipeline.verification.queue import queue, sealed_log
from pipeline.verification.widths import portal_widths

TIMEOUT = 20.0
FRESHNESS = ("connections", "inbox", "holds", "last build")


@dataclass(frozen=True)
class Verification:
    verification_id: str
    at: str
    owner: str
    findings: tuple[Finding, ...]
    took_seconds: int

    @property
    def ok(self) -> bool:
        return all(finding.level != "problem" for finding in self.findings)


def verify(office: Office, *, owner: str, now: datetime) -> Verification:
    """Look at everything, keep what was seen, and return it. A check that breaks is a finding."""
    began = time.monotonic()
    findings = tuple(_findings(office, now))
    took = round(time.monotonic() - began)
    made = Verification("ver_" + secrets.token_hex(8), stamp(now), owner, findings, took)
    row = {
        "verification_id": made.verification_id,
        "at": made.at,
        "owner": owner,
        "ok": int(made.ok),
        "checks": json.dumps([asdict(finding) for finding in findings]),
        "took_seconds": took,
    }
    with office.engine.begin() as connection:
        connection.execute(insert(verifications), row)
    return made


def last_verification(engine: Engine) -> RowMapping | None:
    with engine.connect() as connection:
        found = select(verifications).order_by(verifications.c.at.desc()).limit(1)
        return connection.execute(found).mappings().first()


def _findings(office: Office, now: datetime) -> Iterator[Finding]:
    addresses = Addresses.read(office.settings.home)
    if addresses is None:
        yield Finding("problem", "running system", "nothing has been started here", "Run `leadtrail up`.")
    else:
        yield from _outside(office, addresses, now)
    yield from _guarded("queue", lambda: queue(office.engine, now=now))
    yield from _fresh(examine(office.settings, now=now, only=FRESHNESS))
    yield from _guarded("audit", lambda: sealed_log(office))


def _outside(office: Office, at: Addresses, now: datetime) -> Iterator[Finding]:
    connection = next(iter(office.connections()))
    with httpx.Client(timeout=TIMEOUT, follow_redirects=False) as http:
        yield from _guarded("desk", lambda: pages.desk(at.desk, http))
        cookie = pages.reader(office.engine, connection.client_id, now)
        try:
            yield from _guarded("portal", lambda: pages.portal(at.portal, http, cookie))
            yield from _guarded("portal widths", lambda: portal_widths(at.portal, cookie))
        finally:
            pages.sign_out(office.engine, cookie, now)
        yield from _guarded(
            "webhooks", lambda: pages.intake(at.intake, http, connection.client_id, connection.provider)
        )
        yield from _guarded("observability", lambda: observability(at.dagster, http))


def _fresh(findings: list[Finding]) -> Iterator[Finding]:
    """What is well with connections is one line, so that all fits a screen; each that is not has its own."""
    well = [one for one in findings if one.level == "ok" and "/" in one.what]
    if well:
        yield Finding("ok", "freshness", f"{len(well)} connections are as fresh as they should be")
    yield from (one for one in findings if one not in well)


def _guarded(what: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except httpx.HTTPError as problem:
        yield Finding("problem", what, f"does not answer ({type(problem).__name__})", pages.RESTART)
    except Exception as problem:
        yield Finding("problem", what, f"could not be looked at ({type(problem).__name__})", "Report this.")
