"""`leadtrail up`: what it runs, keeps running, stops, and puts right after everything was killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml

import pipeline.dagster_home
from pipeline.boot import sweep
from pipeline.dagster_home import CONFIG, prepare_dagster_home
from pipeline.processes import identity, is_alive, pid_of
from pipeline.settings import Settings
from pipeline.supervisor import DidNotStart, Service, Supervisor
from pipeline.tags import PROCESS

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 120.0  # seconds on an idle machine; the margin is for a busy one


def wait_until(true: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = 0.05) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := true():
            return value
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")


# ---- the supervisor, with processes that need no Dagster ----


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, told: list[str]) -> Iterator[Supervisor]:
    one = Supervisor(logs=tmp_path / "logs", note=tmp_path / "up.json", cwd=tmp_path, tell=told.append)
    yield one
    one.stop()


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_what_dies_is_started_again_and_the_log_is_named(supervisor: Supervisor, told: list[str]) -> None:
    supervisor.start(Service("sleeper", script("import time; time.sleep(600)")))
    first = supervisor.kept[0].process.pid
    os.kill(first, signal.SIGKILL)

    def again() -> bool:
        supervisor.look_after_all()
        return supervisor.kept[0].process.pid != first

    wait_until(again, "another process")
    assert identity(supervisor.kept[0].process.pid)
    assert "sleeper ended (by signal 9); starting it again in 1 s" in told[0]
    assert "sleeper.log" in told[0]


def test_what_dies_again_and_again_is_started_less_and_less_often(supervisor: Supervisor, told: list[str]) -> None:
    supervisor.start(Service("broken", script("import time; time.sleep(0.2)")))

    def told_twice() -> bool:
        supervisor.look_after_all()
        return len(told) == 2

    wait_until(told_twice, "two deaths")
    assert "in 1 s" in told[0]
    assert "in 2 s" in told[1]


def test_stopping_leaves_nothing_behind_not_even_what_a_service_started(supervisor: Supervisor, tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time, pathlib;"
        "child = subprocess.Popen([sys.executable, '-c', "
        "'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)']);"
        "pathlib.Path('child').write_text(str(child.pid));"
        "time.sleep(600)"
    )
    supervisor.start(Service("parent", script(stubborn), lambda: (tmp_path / "child").exists()))
    child = identity(int(wait_until((tmp_path / "child").read_text, "the child")))
    assert is_alive(child)
    supervisor.stop()
    wait_until(lambda: not is_alive(child), "the child is gone", 5)
    assert not (tmp_path / "up.json").exists()


def test_a_service_that_cannot_start_is_told_with_its_log(supervisor: Supervisor) -> None:
    with pytest.raises(DidNotStart, match=r"broken ended as soon as it was started; see .*broken\.log"):
        supervisor.start(Service("broken", script("raise SystemExit('no')"), lambda: False))
    assert (supervisor.logs / "broken.log").read_text() == "no\n"


def test_what_a_killed_supervisor_could_not_end_is_ended_by_the_next(supervisor: Supervisor, tmp_path: Path) -> None:
    sleeper = "import pathlib, time; pathlib.Path('here').touch(); time.sleep(600)"
    supervisor.start(Service("sleeper", script(sleeper), lambda: (tmp_path / "here").exists()))
    left = supervisor.kept[0].process
    following = Supervisor(logs=tmp_path, note=supervisor.note, cwd=tmp_path, tell=lambda line: None)
    assert following.stop_leftovers() == 1
    assert left.wait(5) == -signal.SIGTERM
    assert following.stop_leftovers() == 0


def test_a_process_id_that_another_process_has_now_is_not_the_one_we_knew() -> None:
    process = subprocess.Popen(script("import time; time.sleep(600)"))
    name = identity(process.pid)
    assert is_alive(name)
    assert not is_alive(f"{process.pid}@another-boot:1")
    process.kill()
    wait_until(lambda: not is_alive(name), "gone, although nobody has waited for it", 5)
    process.wait()
    assert not is_alive("")


def work_beside(code: str) -> float:
    """Share of a processor that a busy process gets while another, which ran `code` first, is as busy in a session of its own."""
    pinned = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); until = time.monotonic() + 2"
    busy = f"{pinned}\nwhile time.monotonic() < until: pass\n"
    both = [
        subprocess.Popen(
            script(f"import os, time; {first}; {busy}print(time.process_time())"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        for first in ("pass", code)
    ]
    ours, other = (float(one.communicate()[0]) for one in both)
    return ours / (ours + other)


@pytest.mark.skipif(sys.platform != "linux", reason="the processor is shared out otherwise")
def test_what_nobody_waits_for_stands_back_even_in_a_session_of_its_own() -> None:
    assert work_beside("from pipeline.processes import NICE, stand_back; stand_back(NICE['sync'])") > 0.75


# ---- Dagster's own home ----


def test_dagsters_settings_are_renewed_unless_a_person_has_changed_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back afterwards
    settings = Settings.from_env({"LEADTRAIL_HOME": str(tmp_path)})
    prepare_dagster_home(settings)
    written = settings.dagster_home / "dagster.yaml"
    assert written.read_text() == CONFIG
    monkeypatch.setattr(pipeline.dagster_home, "EARLIER", (hashlib.sha256(b"as shipped before").hexdigest(),))
    written.write_text("as shipped before")
    prepare_dagster_home(settings)
    assert written.read_text() == CONFIG
    written.write_text("as somebody wants it")
    prepare_dagster_home(settings)
    assert written.read_text() == "as somebody wants it"


def test_dagsters_settings_keep_quiet_free_slots_and_end_what_hangs() -> None:
    settings = yaml.safe_load(CONFIG)
    assert settings["telemetry"]["enabled"] is False
    assert settings["run_monitoring"]["free_slots_after_run_end_seconds"] <= 120
    assert settings["run_monitoring"]["max_runtime_seconds"] > 0
    assert settings["run_monitoring"]["poll_interval_seconds"] <= 30
    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "run"}
    assert settings["retention"]


# ---- what a hard kill leaves in Dagster ----


def test_only_runs_whose_process_is_gone_are_failed_and_their_slots_freed() -> None:
    gone = subprocess.Popen(script("pass"))
    gone_name = identity(gone.pid) or f"{gone.pid}@x:1"
    gone.wait()
    with dg.instance_for_test() as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("warehouse", 1)

        def run(status: dg.DagsterRunStatus, process: str | None) -> str:
            tags = {} if process is None else {PROCESS: process}
            return instance.create_run_for_job(dg.GraphDefinition("idle").to_job(), status=status, tags=tags).run_id

        dead = run(dg.DagsterRunStatus.STARTED, gone_name)
        storage.claim_concurrency_slot("warehouse", dead, "step")
        started = run(dg.DagsterRunStatus.STARTING, gone_name)
        canceled = run(dg.DagsterRunStatus.CANCELING, f"{os.getpid()}@before-the-reboot:1")
        nameless = run(dg.DagsterRunStatus.STARTED, None)
        alive = run(dg.DagsterRunStatus.STARTED, identity(os.getpid()))

        swept = sweep(instance)

        assert set(swept.failed) == {dead, started, canceled, nameless}
        statuses = {one: instance.get_run_by_id(one).status for one in (dead, alive)}
        assert statuses == {dead: dg.DagsterRunStatus.FAILURE, alive: dg.DagsterRunStatus.STARTED}
        why = [entry.message for entry in instance.all_logs(dead, of_type=dg.DagsterEventType.RUN_FAILURE)]
        assert "process was gone" in why[0]
        assert storage.claim_concurrency_slot("warehouse", alive, "step").is_claimed


def test_a_slot_that_a_finished_run_still_holds_is_freed() -> None:
    with dg.instance_for_test() as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("warehouse", 1)
        storage.claim_concurrency_slot("warehouse", "of-a-run-that-ended", "step")
        assert sweep(instance).freed == ("of-a-run-that-ended",)
        assert storage.claim_concurrency_slot("warehouse", "next", "step").is_claimed


# ---- all of it ----


class Up:
    """`leadtrail up` over a home of its own, with definitions made for these tests."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port, self.intake, self.desk, self.portal = (free_port() for _ in range(4))
        (home / "clients.yaml").write_text(
            "clients:\n  - {client_id: acme, name: Acme, timezone: America/Chicago, owner: a@b.example, connections: {}}\n"
        )

    def start(self) -> None:
        code = (
            "from rich.console import Console; from pipeline.settings import Settings;"
            "from pipeline.up import Ports, run_everything;"
            f"ports = Ports(dagster={self.port}, intake={self.intake}, desk={self.desk}, portal={self.portal});"
            "run_everything(Settings.from_env(), ports=ports, console=Console(), definitions='tests.integration.napping')"
        )
        self.process = subprocess.Popen(
            script(code),
            cwd=ROOT,
            env={**os.environ, "LEADTRAIL_HOME": str(self.home), "PYTHONPATH": str(ROOT)},
            stdout=(self.home / "up.log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until(lambda: self.process.poll() is not None or self.said("Dagster http"), "up")
        assert self.process.poll() is None, (self.home / "up.log").read_text()

    def said(self, words: str) -> bool:
        return words in (self.home / "up.log").read_text()

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=60).json()
        assert "errors" not in answer, answer
        return dict(answer["data"])

    def launch(self, job: str) -> str:
        selector = {"repositoryLocationName": "leadtrail", "repositoryName": "__repository__", "jobName": job}
        answer = self.graphql(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename"
            " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
            p={"selector": selector, "runConfigData": {}},
        )
        return str(answer["launchRun"]["run"]["runId"])

    def run(self, run_id: str) -> dict[str, Any]:
        query = "query($r: ID!) { runOrError(runId: $r) { ... on Run { status tags { key value } } } }"
        found = self.graphql(query, r=run_id)["runOrError"]
        return {"status": found["status"], **{tag["key"]: tag["value"] for tag in found["tags"]}}

    def reaches(self, run_id: str, status: str) -> dict[str, Any]:
        return dict(
            wait_until(
                lambda: (found := self.run(run_id))["status"] == status and found,
                f"{status}; it was {self.run(run_id)}",
                pause=0.3,
            )
        )

    def processes(self) -> list[str]:
        """Everything that belongs to this home, whoever started it."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and int(folder.name) != os.getpid():
                try:
                    environment = (folder / "environ").read_bytes()
                except OSError:
                    continue
                if f"LEADTRAIL_HOME={self.home}".encode() in environment and (name := identity(int(folder.name))):
                    found.append(name)
        return found

    def kill_everything(self) -> None:
        for name in self.processes():
            os.kill(pid_of(name), signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not self.processes(), "all of it is dead", 10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    one = Up(tmp_path)
    yield one
    one.kill_everything()


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
def test_after_a_kill_of_everything_the_queue_moves_again_and_a_stop_leaves_no_process(up: Up) -> None:
    up.start()
    lost = up.launch("sleeping")
    process = up.reaches(lost, "STARTED")[PROCESS]
    assert is_alive(process)
    waiting = up.launch("ticking")
    assert up.reaches(waiting, "QUEUED"), "the pool of the warehouse has one place"
    for port in (up.intake, up.desk, up.portal):
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200

    up.kill_everything()
    wait_until(lambda: not is_alive(process), "the run is dead too", 10)

    began = time.monotonic()
    up.start()
    assert up.said("1 runs whose process was gone were marked as failed")
    up.reaches(lost, "FAILURE")
    up.reaches(waiting, "SUCCESS")
    following = up.launch("ticking")
    up.reaches(following, "SUCCESS")
    assert time.monotonic() - began < PATIENCE

    # a run that alone is killed is noticed without a restart
    alone = up.launch("sleeping")
    os.kill(pid_of(up.reaches(alone, "STARTED")[PROCESS]), signal.SIGKILL)
    up.reaches(alone, "FAILURE")
    up.reaches(up.launch("ticking"), "SUCCESS")
    ticks = (up.home / "ticks").read_text().splitlines()
    assert (ticks[0], ticks[-1]) == ("had to load it", "had it"), "what one run had to load, later ones are given"

    # what dies is started again, and runs that are at work do not die with it
    busy = up.launch("sleeping")
    name = up.reaches(busy, "STARTED")[PROCESS]
    services = json.loads((up.home / "up.json").read_text())
    for service in services:
        os.kill(pid_of(service), signal.SIGKILL)
    wait_until(lambda: not set(json.loads((up.home / "up.json").read_text())) & set(services), "new ones")
    assert is_alive(name)
    (up.home / "wake").touch()
    wait_until(lambda: _answers(up.port), "pages again")
    up.reaches(busy, "SUCCESS")

    second = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "up", "--port", str(free_port())],
        cwd=ROOT,
        env={**os.environ, "LEADTRAIL_HOME": str(up.home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert f"already (process {up.process.pid})" in second.stderr, "two daemons would start everything twice"

    (up.home / "wake").unlink()
    up.reaches(up.launch("sleeping"), "STARTED")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 0
    assert up.processes() == []


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/server_info", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
