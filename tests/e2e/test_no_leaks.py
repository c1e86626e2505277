"""Nothing of the customers stands anywhere but where it belongs: not in logs, in Dagster's database, in run config, in dbt's
files, in what clients read, in audit and settings."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest

from pipeline.client_safe import known_values
from pipeline.office import Office
from pipeline.settings import Settings
from tests.canaries import Canaries
from tests.canary_town import ENVIRONMENT, canaries_of, planted
from tests.e2e.conftest import LEADTRAIL, ROOT, Home

# where personal data belongs (docs/privacy.md)
STORE = {"inbox", "inbox_quarantine", "outputs", "output_log", "suppressions", "call_summaries"}


def leaks(home: Path, canaries: Canaries) -> dict[str, set[str]]:
    """What was found where it does not belong."""
    kept = [
        "landing",
        "warehouse.duckdb",
        "warehouse.duckdb.wal",  # beside it while somebody builds
        "store.db",
        "store.db-wal",
        "clients.yaml",
    ]  # the last names the clients' own staff
    kept += [str(path.relative_to(home)) for path in (home / "published").glob("analytics-*.duckdb")]
    found = dict(canaries.in_folder(home, leave_out=kept))
    with sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True) as store:
        for (table,) in store.execute("select name from sqlite_master where type = 'table'").fetchall():
            if table not in STORE:
                for row in store.execute(f'select * from "{table}"'):
                    if hit := canaries.in_bytes(repr(row).encode()):
                        found.setdefault(f"store.db: {table}", set()).update(hit)
    return found


def test_nothing_of_customers_stands_where_it_does_not_belong(built_home: Home, tmp_path: Path) -> None:
    kinds = canaries_of(built_home.path)
    assert all(kinds[kind] for kind in ("names", "emails", "addresses", "phones", "notes and messages")), kinds.keys()
    canaries = Canaries({one for values in kinds.values() for one in values})
    assert leaks(built_home.path, canaries) == {}
    assert canaries.in_bytes(built_home.said.encode()) == set()
    exported = built_home.leadtrail("portal", "export", str(tmp_path))
    assert exported.returncode == 0, exported.stderr
    assert any(tmp_path.rglob("*.html"))
    assert canaries.in_folder(tmp_path) == {}


def test_the_search_finds_what_is_there(built_home: Home) -> None:
    """Else the test above could not fail."""
    kinds = canaries_of(built_home.path)
    wanted = {kind: sorted(values)[len(values) // 2] for kind, values in kinds.items() if values and kind != "phones"}
    canaries = Canaries({one.strip() for one in wanted.values() if one.isascii() and "\n" not in one})
    found = canaries.in_folder(built_home.path / "landing") | canaries.in_folder(built_home.path / "published")
    assert {word for words in found.values() for word in words} == {word.lower() for word in canaries.words}


def test_every_column_of_staging_that_may_name_somebody_is_known_to_redaction(built_home: Home) -> None:
    """A provider added later brings columns of its own: each is a known value, or is said here to be nobody's."""
    nobodys = {
        "deal_name", "form_name", "tracker_name", "source_name", "campaign_name", "event_name", "friendly_name", "branch_name",
        "business_name", "class_name", "item_name", "client_name", "owner_name", "name_parts_source", "business_number",
        "tracking_number", "tracking_numbers", "tracking_e164", "destination_number", "destination_e164", "phone_extension",
        "phone_kind", "secondary_phone_extension", "secondary_phone_kind", "is_phone_masked", "is_secondary_phone_masked",
        "phone_number", "phone_number_sid", "from_number", "to_number", "client_phone_e164", "email_status", "agent_email",
        "is_email_opted_out", "is_voicemail", "change_number", "line_number", "step_number", "automated_contact_compliant",
    }  # fmt: skip
    with duckdb.connect(str(built_home.path / "analytics.duckdb"), read_only=True) as analytics:
        columns = {
            row[0]
            for row in analytics.execute(
                "select distinct column_name from information_schema.columns where table_schema = 'staging' "
                "and table_name like 'stg#_%' escape '#' "
                "and regexp_matches(column_name, 'name|phone|email|street|address|number')"
            ).fetchall()
        }
    known = known_values.NAME_COLUMNS | known_values.PHONE_COLUMNS | known_values.EMAIL_COLUMNS
    known |= known_values.STREET_COLUMNS | known_values.ORDER_COLUMNS
    assert columns - known - nobodys == set()


def test_a_published_summary_of_the_town_names_nobody_and_is_not_blocked(built_home: Home) -> None:
    from pipeline.client_safe.document import read_content
    from pipeline.client_safe.redaction import find_in

    settings = Settings.from_env({"LEADTRAIL_HOME": str(built_home.path)})
    office = Office(settings)
    with sqlite3.connect(built_home.path / "store.db") as store:
        rows = store.execute("select client_id, content from summaries").fetchall()
    known = {client.client_id: known_values.known_values(settings, client.client_id) for client in office.clients()}
    assert rows
    assert [
        find_in(read_content(content), known[client])
        for client, content in rows
        if find_in(read_content(content), known[client])
    ] == []


# ---- ten thousand canaries, and a model that tells all it knows ----


class _Telltale(BaseHTTPRequestHandler):
    """A model that says whatever it was told, and every name, number and address it could have got hold of."""

    heard: list[str] = []  # noqa: RUF012
    secrets: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"])).decode()
        self.heard.append(asked)
        n = len(self.heard) * 7
        lines = [f"Please call {one}." for one in self.secrets[n : n + 6]] or ["All is well."]
        words = {
            "opening": "Here is everyone.",
            "sections": [{"heading": "People", "lines": [line[:270] for line in lines]}],
        }
        tools = json.loads(asked).get("tools") or []
        message: dict[str, object] = {"role": "assistant", "content": json.dumps(words)}
        if tools:
            called = {"name": tools[0]["function"]["name"], "arguments": json.dumps(words)}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": called}],
            }
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "telltale",
                  "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}  # fmt: skip
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def telltale() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Telltale)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.mark.soak
def test_ten_thousand_canaries_go_through_the_whole_product_and_none_comes_out(tmp_path: Path, telltale: str) -> None:
    home, site = tmp_path / "home", tmp_path / "site"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LEADTRAIL_", "DAGSTER_"))}
    environment |= {"LEADTRAIL_HOME": str(home), "COLUMNS": "200", **ENVIRONMENT}
    ran = subprocess.run(
        [*LEADTRAIL, "run", "--seed", "5"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3000
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    kinds = {**canaries_of(home), **planted(home)}
    said = {kind: len(values) for kind, values in kinds.items()}
    assert sum(said.values()) >= 10_000, said
    assert all(said[kind] for kind in ("transcripts", "cards", "tokens", "transcript words")), said
    canaries = Canaries({one for values in kinds.values() for one in values})

    # the model is told of nobody, and what it makes up by luck is not believed
    _Telltale.secrets = [
        one for kind in ("names", "emails", "addresses", "phones") for one in sorted(kinds[kind])[:300]
    ]
    model = {"LEADTRAIL_AI_BASE_URL": telltale, "LEADTRAIL_AI_MODEL": "telltale", "LEADTRAIL_AI_KEY": "x"}
    outputs = [ran.stdout + ran.stderr]
    with sqlite3.connect(home / "store.db") as store:
        store.execute(
            "delete from summaries where status <> 'published'"
        )  # so that they are written again, by the model
    for command in (
        ["summaries", "make"],
        ["emit"],
        ["deliver"],
        ["portal", "export", str(site)],
        ["doctor"],
        ["retention"],
    ):
        done = subprocess.run(
            [*LEADTRAIL, *command], cwd=ROOT, env={**environment, **model}, capture_output=True, text=True, timeout=900
        )
        outputs.append(done.stdout + done.stderr)
    figures = {"summed up by kind": said, "asked the model": len(_Telltale.heard)}
    print(json.dumps(figures))  # noqa: T201
    assert _Telltale.heard
    assert leaks(home, canaries) == {}
    assert canaries.in_folder(site) == {}
    assert canaries.in_bytes("\n".join(outputs).encode()) == set()
    shutil.rmtree(home)
