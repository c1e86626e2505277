"""The commands as a person uses them: what they say, where, with which exit code; and that failures say what to do."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

from connectors.sandbox.provider import Fault
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline import cli
from pipeline.clients import load_clients
from pipeline.settings import Settings

END = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """All of it, as if the window were endless."""
        return " ".join((self.out + " " + self.err).split())


Leadtrail = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in the environment, with nothing in it."""
    for name in [name for name in os.environ if name.startswith("LEADTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LEADTRAIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEADTRAIL_CLIENTS_FILE", str(tmp_path / "clients.yaml"))
    monkeypatch.setattr(cli.out, "width", 160)
    return tmp_path / "home"


@pytest.fixture
def leadtrail(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Leadtrail:
    """Run a command in this process, through the entry point."""

    def run(*args: str, stdin: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["leadtrail", *args])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Said(code if isinstance(code, int) else 0 if code is None else 1, said.out, said.err)

    return run


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    running = start_sandbox(
        seed=7, clients=2, months=2, leads_per_month=10, end=END, now=END, providers=("callrail", "twilio", "forms")
    )
    yield running
    running.stop()


@pytest.fixture
def town(sandbox: RunningSandbox, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    """The sandbox in the environment."""
    for name, value in sandbox.env.items():
        monkeypatch.setenv(name, value)
    yield sandbox
    sandbox.world.faults.clear()


def landed(home: Path) -> set[tuple[str, str]]:
    """(client, provider) pairs in landing."""
    pairs = set()
    for file in (home / "landing").rglob("*.parquet"):
        table = pq.read_table(file, columns=["client_id", "provider"])
        pairs |= {(row["client_id"], row["provider"]) for row in table.to_pylist()}
    return pairs


# ---- help ----


def commands() -> dict[str, str]:
    """Every command and group, with what its help begins with."""
    found: dict[str, str] = {}

    def walk(group: typer.core.TyperGroup, path: str) -> None:
        for name, command in group.commands.items():
            found[f"{path}{name}"] = command.help or ""
            if isinstance(command, typer.core.TyperGroup):
                walk(command, f"{path}{name} ")

    walk(typer.main.get_command(cli.app), "")  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_that_says_what_it_does(leadtrail: Leadtrail, command: str) -> None:
    said = leadtrail(*command.split(), "--help")
    assert said.code == 0
    assert "Usage:" in said.out
    purpose = commands()[command]
    assert len(purpose.split()) > 3
    assert " ".join(purpose.split()) in said.words


def test_the_public_commands_are_there() -> None:
    wanted = {"sandbox", "intake", "clients init", "check", "import", "sync", "build", "up", "doctor", "rebuild"}
    assert wanted <= commands().keys()


def test_the_installed_command_starts_without_the_heavy_parts() -> None:
    """Dagster, dbt and DuckDB take seconds to import, and `--help` or `check` need none of them."""
    code = "import sys, pipeline.cli; print([n for n in ('dagster', 'dbt', 'alembic', 'pandas') if n in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
    script = shutil.which("leadtrail", path=str(Path(sys.executable).parent))
    assert script, "the package is installed with its command"


# ---- the clients file and secrets ----


def test_from_an_empty_folder_to_a_secret_that_is_missing_to_one_that_is_found(
    leadtrail: Leadtrail, home: Path, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (["check"], ["sync"], ["build"], ["import", __file__, "--client", "a", "--provider", "angi"]):
        said = leadtrail(*command)
        assert said.code == 1, command
        assert "There is no clients file at" in said.words
        assert "leadtrail clients init" in said.words

    made = leadtrail("clients", "init")
    assert made.code == 0
    assert "leadtrail check" in made.words
    file = Settings.from_env().clients_file
    assert [client.client_id for client in load_clients(Settings.from_env())] == ["ridgeline-plumbing"]

    again = leadtrail("clients", "init")
    assert again.code == 1
    assert "exists already" in again.words
    assert "--force" in again.words
    file.write_text("mine")
    assert leadtrail("clients", "init", "--force").code == 0
    assert file.read_text() != "mine"

    missing = leadtrail("check")
    assert missing.code == 1
    assert "ridgeline-plumbing/callrail" in missing.words
    assert "leadtrail secrets set RIDGELINE_CALLRAIL_KEY" in missing.words
    failed = leadtrail("sync")
    assert failed.code == 1
    assert "ridgeline-plumbing/callrail needs_person: secret RIDGELINE_CALLRAIL_KEY was not found" in failed.words
    assert "1 of 1 connections did not finish" in failed.words

    stored = leadtrail("secrets", "set", "RIDGELINE_CALLRAIL_KEY", stdin="canary-key\n")
    assert stored.code == 0
    assert "leadtrail check" in stored.words
    assert "canary" not in stored.words
    monkeypatch.setenv("LEADTRAIL_CALLRAIL_BASE_URL", sandbox.env["LEADTRAIL_CALLRAIL_BASE_URL"])
    tried = leadtrail("check", "--json")
    (result,) = json.loads(tried.out)
    assert (tried.code, result["connection"], result["ok"]) == (1, "ridgeline-plumbing/callrail", False)
    assert "secret" not in result["message"]
    assert "canary" not in tried.words


def test_secrets_are_set_listed_and_removed_and_never_shown(leadtrail: Leadtrail, home: Path) -> None:
    assert leadtrail("secrets", "list").out == ""
    for name in ("B_TOKEN", "A_TOKEN"):
        assert leadtrail("secrets", "set", name, stdin="canary two lines\nof it\n").code == 0
    assert leadtrail("secrets", "list").out.split() == ["A_TOKEN", "B_TOKEN"]
    assert leadtrail("secrets", "remove", "A_TOKEN").words == "A_TOKEN is gone."
    gone = leadtrail("secrets", "remove", "A_TOKEN")
    assert gone.code == 1
    assert "No secret is called A_TOKEN" in gone.words
    empty = leadtrail("secrets", "set", "C_TOKEN", stdin="\n")
    assert empty.code == 1
    assert "C_TOKEN was not stored: the value is empty" in empty.words
    assert leadtrail("secrets", "list").out.split() == ["B_TOKEN"]
    assert not [path for path in home.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


# ---- syncing ----


def test_a_sync_of_everything_then_nothing_new_and_check_agrees(
    leadtrail: Leadtrail, home: Path, town: RunningSandbox
) -> None:
    checked = leadtrail("check")
    assert checked.code == 0, checked.words
    assert checked.out.count("✓") == 6
    first = leadtrail("sync")
    assert first.code == 0, first.words
    clients = {client.client_id for client in town.town.clients}
    assert landed(home) == {(client, provider) for client in clients for provider in ("callrail", "twilio")}
    assert "records landed from 6 connections" in first.words
    assert "Next: `leadtrail build`." in first.words
    second = leadtrail("sync")
    assert "0 records landed from 6 connections" in second.words
    assert second.out.count("nothing new") == 3
    assert leadtrail("compact").code == 0


def test_a_sync_can_be_of_one_client_or_one_provider(leadtrail: Leadtrail, home: Path, town: RunningSandbox) -> None:
    one, other = (client.client_id for client in town.town.clients)
    said = leadtrail("sync", "--client", one, "--provider", "callrail")
    assert "from 1 connections" in said.words
    assert landed(home) == {(one, "callrail")}
    assert "from 2 connections" in leadtrail("sync", "--provider", "twilio").words
    assert landed(home) == {(one, "callrail"), (one, "twilio"), (other, "twilio")}


@pytest.mark.parametrize("command", ["sync", "check"])
def test_an_unknown_name_is_told_with_those_there_are(
    leadtrail: Leadtrail, home: Path, town: RunningSandbox, command: str
) -> None:
    nobody = leadtrail(command, "--client", "nobody")
    assert nobody.code == 1
    assert "There is no client 'nobody' in" in nobody.words
    assert town.town.clients[0].client_id in nobody.words
    nothing = leadtrail(command, "--provider", "callrial")
    assert nothing.code == 1
    assert "No provider is called 'callrial'; there are callrail, hubspot" in nothing.words
    assert landed(home) == set()


def test_one_connection_that_fails_is_named_with_what_to_do_and_the_others_are_complete(
    leadtrail: Leadtrail, home: Path, town: RunningSandbox
) -> None:
    one, other = town.town.clients
    account = town.providers["callrail"].credentials(one, "")["account_id"]
    town.world.faults.append(Fault("revoked_token", "callrail", path=account, times=None))
    said = leadtrail("sync")
    assert said.code == 1
    assert f"✗ {one.client_id}/callrail needs_person: " in said.err
    assert "1 of 6 connections did not finish; the others are complete." in said.words
    assert (other.client_id, "callrail") in landed(home)
    told = next(line for line in said.err.splitlines() if line.startswith("✗"))
    what, _, fix = told.partition("needs_person: ")[2].partition(". ")
    assert what
    assert fix
    doctor = leadtrail("doctor", "--json")
    assert doctor.code == 1
    found = {finding["what"]: finding for finding in json.loads(doctor.out)}
    assert found[f"{one.client_id}/callrail"]["level"] == "problem"
    assert found[f"{other.client_id}/callrail"]["level"] == "ok"
    checked = leadtrail("check", "--client", one.client_id, "--provider", "callrail")
    assert checked.code == 1
    assert "✗" in checked.out
    town.world.faults.clear()
    assert leadtrail("check", "--client", one.client_id).code == 0


def test_no_secret_of_a_client_is_ever_printed_or_left_in_the_home(
    leadtrail: Leadtrail, home: Path, town: RunningSandbox
) -> None:
    secrets = {
        line.partition("=")[2].strip('"')
        for line in Path(town.env["LEADTRAIL_SECRETS_FILE"]).read_text().splitlines()
        if len(line.partition("=")[2]) > 8
    }
    assert len(secrets) >= 6
    town.world.faults.append(Fault("revoked_token", times=None))
    said = [leadtrail(*command) for command in (["sync"], ["check", "--json"], ["doctor", "--json"], ["doctor"])]
    shown = " ".join(one.out + one.err for one in said)
    held = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for secret in secrets:
        assert secret not in shown
        assert secret.encode() not in held


# ---- doctor ----


def test_doctor_in_json_is_json_and_its_exit_code_tells_of_problems(leadtrail: Leadtrail, home: Path) -> None:
    said = leadtrail("doctor", "--json")
    findings = json.loads(said.out)
    assert said.code == 1
    assert {tuple(sorted(finding)) for finding in findings} == {("fix", "found", "level", "what")}
    assert {finding["level"] for finding in findings} <= {"ok", "warn", "problem"}
    (missing,) = [finding for finding in findings if finding["what"] == "connections"]
    assert "leadtrail clients init" in missing["found"]
    table = leadtrail("doctor")
    assert table.code == 1
    assert "leadtrail clients init" in table.words


def test_what_to_run_can_be_copied_from_a_narrow_window(leadtrail: Leadtrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.out, "width", 40)
    leadtrail("clients", "init")
    for command in ("check", "doctor"):
        assert "`leadtrail secrets set RIDGELINE_CALLRAIL_KEY`" in leadtrail(command).out


# ---- what is wrong with the machine ----


def test_a_store_or_key_or_folder_that_cannot_be_used_is_one_clear_sentence(
    leadtrail: Leadtrail, home: Path, town: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [
        ({"LEADTRAIL_STORE_URL": "nonsense"}, "LEADTRAIL_STORE_URL is not usable"),
        ({"LEADTRAIL_STORE_URL": "postgresql://me:canary@127.0.0.1:1/x"}, "me:***@127.0.0.1:1/x cannot be used"),
        ({"LEADTRAIL_KEY": "canary"}, "LEADTRAIL_KEY must be 32 bytes in base64"),
        ({"LEADTRAIL_HOME": "/proc/nowhere"}, "LEADTRAIL_HOME"),
        ({"LEADTRAIL_SECRETS_FILE": "/nowhere/secrets"}, "LEADTRAIL_SECRETS_FILE names /nowhere/secrets"),
    ]
    for environ, told in cases:
        with monkeypatch.context() as changed:
            for name, value in environ.items():
                changed.setenv(name, value)
            said = leadtrail("sync")
            assert said.code == 1, environ
            assert told in said.words
            assert "canary" not in said.words
            assert len(said.err.strip().splitlines()) == 1, said.err


def test_brackets_in_a_message_are_shown_as_they_are(leadtrail: Leadtrail, home: Path) -> None:
    file = Settings.from_env().clients_file
    file.write_text(
        "clients: [{client_id: a, timezone: '[red]Nowhere[/red]', owner: d, connections: {'[/]': {}}}]",
        encoding="utf-8",
    )
    said = leadtrail("sync")
    assert said.code == 1
    assert "'[red]Nowhere[/red]'" in said.err
    assert "'[/]'" in said.err


@pytest.mark.parametrize(
    "args", [["sandbox", "--end", "soon"], ["sandbox", "--clients", "0"], ["import", "nofile"], ["nonsense"]]
)
def test_a_command_written_wrongly_is_told_and_exits_2(leadtrail: Leadtrail, args: list[str]) -> None:
    said = leadtrail(*args)
    assert said.code == 2
    assert "--help" in said.err
