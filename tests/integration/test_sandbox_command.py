"""The sandbox as a whole: one command that serves the town, says how to reach it, and knows the truth about it."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from connectors.registry import CONNECTORS, connector_class
from connectors.sandbox.run import RunningSandbox, start_sandbox
from connectors.sandbox.truth import truth
from pipeline.clients import load_clients
from pipeline.office import Office
from pipeline.settings import Settings
from tests.todays_town import small_town

SMALL = small_town(months=4)
END = SMALL["end"]


@pytest.fixture(scope="module")
def sandbox():
    running = start_sandbox(**SMALL)
    yield running
    running.stop()


def office_of(sandbox: RunningSandbox, home: Path) -> Office:
    return Office(Settings.from_env({**sandbox.env, "LEADTRAIL_HOME": str(home)}))


def expected_records(sandbox: RunningSandbox, arrives: str) -> Counter:
    """(client, provider, stream) -> records a complete sync ends with."""
    ways = {(name, stream.name): stream.arrives for name in CONNECTORS for stream in connector_class(name).streams}
    return Counter(
        (client_id, name, stream)
        for name, provider in sandbox.providers.items()
        for client_id, stream, _, _ in provider.records()
        if ways[name, stream] == arrives
    )


# ---- the command ----


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """(what it printed, the truth file, exit code, whether its files are gone)."""
    truth_file = tmp_path_factory.mktemp("truth") / "truth.json"
    town = ["--seed", "3", "--clients", "2", "--months", "2", "--leads-per-month", "10", "--end", "2026-03-01"]
    arguments = ["sandbox", "--port", "0", *town, "--truth", str(truth_file)]
    code = "import sys; from pipeline.cli import main; sys.argv[0] = 'leadtrail'; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    try:
        said = json.loads(started.stdout.readline())
        answer = httpx.get(f"http://127.0.0.1:{said['port']}/_sandbox/records")
        modes = {
            name: stat.S_IMODE(os.stat(said["env"][name]).st_mode)
            for name in ("LEADTRAIL_CLIENTS_FILE", "LEADTRAIL_SECRETS_FILE")
        }
        started.send_signal(signal.SIGTERM)
        rest = started.communicate(timeout=20)[0]
    finally:
        started.kill()
    return {
        "said": said,
        "rest": rest,
        "records": answer.json(),
        "modes": modes,
        "exit": started.returncode,
        "truth": json.loads(truth_file.read_bytes()),
    }


def test_one_line_says_how_to_reach_every_provider(command):
    said = command["said"]
    assert set(said) == {"port", "env", "credentials"}
    assert command["rest"] == ""
    assert set(said["credentials"]) == set(CONNECTORS)
    for name, keys in {
        "callrail": {"api_key", "account_id"},
        "hubspot": {"access_token"},
        "twilio": {"account_sid", "auth_token", "from"},
        "search_console": {"service_account", "site_urls"},
        "quickbooks": {"client_id", "client_secret", "refresh_token", "realm_id"},
    }.items():
        assert keys <= set(said["credentials"][name]), name
    assert said["env"]["LEADTRAIL_CALLRAIL_BASE_URL"] == f"http://127.0.0.1:{said['port']}/callrail"


def test_it_accepts_connections_when_the_line_is_printed(command):
    assert len(command["records"]) == 2


def test_its_files_are_private_and_gone_when_it_is_stopped(command):
    assert set(command["modes"].values()) == {0o600}
    assert command["exit"] == 0
    assert not Path(command["said"]["env"]["LEADTRAIL_SECRETS_FILE"]).parent.exists()


def test_the_truth_file_has_the_agreed_shape(command):
    written = command["truth"]
    assert written["seed"] == 3
    assert len(written["clients"]) == 2
    for client in written["clients"]:
        assert set(client) == {"client_id", "people"}
        for person in client["people"]:
            assert set(person) == {"person_id", "names", "phones", "emails", "addresses", "records", "episodes"}
            assert all(set(record) == {"provider", "stream", "record_id"} for record in person["records"])
            assert all(set(episode) == {"booked", "revenue_cents", "channel"} for episode in person["episodes"])
            assert person["episodes"]


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} cannot be used"):
            start_sandbox(**{**SMALL, "leads_per_month": 1}, port=port)


# ---- what it hands out works ----


def test_the_clients_file_names_every_connection_and_holds_no_secret(sandbox, tmp_path):
    settings = Settings.from_env({**sandbox.env, "LEADTRAIL_HOME": str(tmp_path)})
    clients = load_clients(settings)
    assert [client.client_id for client in clients] == [client.client_id for client in sandbox.town.clients]
    assert all({c.provider for c in client.connections} == set(CONNECTORS) for client in clients)
    text = settings.clients_file.read_text()
    for line in settings.secrets_file.read_text().splitlines():
        name, _, value = line.partition("=")
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name)
        assert f"${{{name}}}" in text
        assert value
        assert value not in text


def test_every_connection_checks_as_healthy(sandbox, tmp_path):
    office = office_of(sandbox, tmp_path)
    health = {c.name: office.connector(c.client_id, c.provider).check() for c in office.connections()}
    assert {name: one.message for name, one in health.items() if not one.ok} == {}
    assert len(health) == 2 * len(CONNECTORS)


def test_one_sync_of_an_empty_home_lands_everything_that_can_be_pulled(sandbox, tmp_path):
    landed: Counter = Counter()
    for outcome in office_of(sandbox, tmp_path).sync(now=datetime.now(UTC)):
        assert outcome.state == "ok", outcome
        landed.update({(outcome.client_id, outcome.provider, name): n for name, n in outcome.landed.items() if n})
    assert landed == expected_records(sandbox, "pull")


def test_a_restarted_sandbox_accepts_what_the_first_one_handed_out(sandbox, tmp_path):
    again = start_sandbox(**SMALL)
    try:
        # the first one's clients and secrets, with the second one's port
        files = {}
        for name in ("LEADTRAIL_CLIENTS_FILE", "LEADTRAIL_SECRETS_FILE"):
            files[name] = tmp_path / name.lower()
            files[name].touch(mode=0o600)
            files[name].write_text(Path(sandbox.env[name]).read_text().replace(sandbox.origin, again.origin))
        env = again.env | {name: str(path) for name, path in files.items()}
        office = Office(Settings.from_env({**env, "LEADTRAIL_HOME": str(tmp_path)}))
        health = {c.name: office.connector(c.client_id, c.provider).check() for c in office.connections()}
    finally:
        again.stop()
    assert {name: one.message for name, one in health.items() if not one.ok} == {}


def test_stopping_frees_the_port_and_removes_the_files():
    running = start_sandbox(**{**SMALL, "leads_per_month": 1}, providers=["callrail", "angi"])
    assert set(running.credentials()) == {"callrail", "angi"}
    running.stop()
    assert not Path(running.env["LEADTRAIL_CLIENTS_FILE"]).exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.origin}/_sandbox/records")


# ---- the truth ----


def test_every_record_of_a_person_is_in_the_truth_once(sandbox):
    told = truth(sandbox.town, sandbox.providers.values())
    listed = Counter(
        (client["client_id"], record["provider"], record["stream"], record["record_id"])
        for client in told["clients"]
        for person in client["people"]
        for record in person["records"]
    )
    known = Counter(
        (client_id, name, stream, record_id)
        for name, provider in sandbox.providers.items()
        for client_id, stream, record_id, person_id in provider.records()
        if person_id
    )
    assert listed == known
    assert max(listed.values()) == 1


def test_every_stream_of_the_truth_is_a_stream_of_its_connector(sandbox):
    for name, provider in sandbox.providers.items():
        streams = {stream.name for stream in connector_class(name).streams}
        assert {stream for _, stream, _, _ in provider.records()} <= streams, name


def test_a_person_with_a_finished_story_has_records_with_several_providers(sandbox):
    paid = {episode.person_id for episode in sandbox.town.episodes if episode.outcome == "paid"}
    told = truth(sandbox.town, sandbox.providers.values())
    people = {person["person_id"]: person for client in told["clients"] for person in client["people"]}
    assert paid
    for person_id in paid:
        assert "quickbooks" in {record["provider"] for record in people[person_id]["records"]}
        assert sum(episode["revenue_cents"] for episode in people[person_id]["episodes"]) > 0


def test_spam_and_the_firms_own_records_belong_to_nobody(sandbox):
    robots = {call.n for call in sandbox.town.calls if not call.person_id}
    nobodys = Counter(stream for _, stream, _, person_id in sandbox.providers["callrail"].records() if not person_id)
    assert robots
    assert nobodys["calls"] > 0
