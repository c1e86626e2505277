"""Keeps a few processes running: starts them in order, starts again what dies, stops all of them, leaves none behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.processes import identity, is_alive, pid_of

START_SECONDS = 120.0
STOP_SECONDS = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STEADY_SECONDS = 60.0  # who has run for this long is well again: its next death is its first
_TICK = 0.2


@dataclass(frozen=True)
class Service:
    """One process to keep. `ready` says that it does its work; the next one is started after that."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool] = lambda: True
    environment: Mapping[str, str] = field(default_factory=dict)


class AlreadyUp(Exception):
    """This home is being run, or a port is somebody else's."""


class DidNotStart(Exception):
    """A service ended, or was not ready in time, when everything was started. The message says where to look."""


@dataclass
class _Kept:
    service: Service
    process: subprocess.Popen[bytes]
    started_at: float
    pause: float = FIRST_PAUSE
    again_at: float | None = None  # set while it is down


class Supervisor:
    """`note` is the file that remembers the processes, so that one whose supervisor was killed is found by the next."""

    def __init__(self, *, logs: Path, note: Path, cwd: Path, tell: Callable[[str], None]) -> None:
        self.logs, self.note, self.cwd, self.tell = logs, note, cwd, tell
        self.kept: list[_Kept] = []
        self._stopping = False

    def stop_leftovers(self) -> int:
        """End what an earlier supervisor that was killed could not end. Returns how many there were."""
        try:
            names: list[str] = json.loads(self.note.read_text())
        except (OSError, ValueError):
            return 0
        left = [name for name in names if is_alive(name)]
        end([pid_of(name) for name in left])
        return len(left)

    def start(self, service: Service) -> None:
        """Start a service and wait until it is ready."""
        kept = _Kept(service, self._spawn(service), time.monotonic())
        self.kept.append(kept)
        self._write_note()
        while not service.ready():
            if kept.process.poll() is not None:
                raise DidNotStart(f"{service.name} ended as soon as it was started; see {self._log(service)}.")
            if time.monotonic() - kept.started_at > START_SECONDS:
                raise DidNotStart(f"{service.name} is not ready after {START_SECONDS:.0f} s; see {self._log(service)}.")
            if self._stopping:
                return
            time.sleep(_TICK)

    def run(self) -> None:
        """Keep everything running until SIGTERM or SIGINT."""
        while not self._stopping:
            self.look_after_all()
            time.sleep(_TICK)

    def look_after_all(self) -> None:
        """Start again what has died, each a little later than the time before."""
        for kept in self.kept:
            self._look_after(kept)

    def stop_on_signals(self) -> None:
        """From here on SIGTERM and SIGINT mean: stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """End everything."""
        end([kept.process.pid for kept in self.kept if kept.process.poll() is None])
        for kept in self.kept:
            kept.process.wait()
        self.note.unlink(missing_ok=True)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _look_after(self, kept: _Kept) -> None:
        now = time.monotonic()
        if kept.again_at is None:
            if kept.process.poll() is None:
                return
            if now - kept.started_at > STEADY_SECONDS:
                kept.pause = FIRST_PAUSE
            kept.again_at = now + kept.pause
            what = f"{kept.service.name} ended ({_ending(kept.process.returncode)})"
            self.tell(f"{what}; starting it again in {kept.pause:.0f} s. See {self._log(kept.service)}.")
            _kill_group(kept.process.pid)  # what it had started itself
        elif now >= kept.again_at:
            kept.process, kept.started_at, kept.again_at = self._spawn(kept.service), now, None
            kept.pause = min(2 * kept.pause, LONGEST_PAUSE)
            self._write_note()

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        self.logs.mkdir(parents=True, exist_ok=True)
        with self._log(service).open("ab") as log:
            return subprocess.Popen(
                service.command,
                cwd=self.cwd,
                env={**os.environ, **service.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the supervisor, and a group can be ended as one
            )

    def _log(self, service: Service) -> Path:
        return self.logs / f"{service.name}.log"

    def _write_note(self) -> None:
        names = [identity(kept.process.pid) for kept in self.kept if kept.again_at is None]
        temporary = self.note.with_suffix(".tmp")
        temporary.write_text(json.dumps(names))
        temporary.replace(self.note)


def listens(port: int) -> Callable[[], bool]:
    """Ready means: it takes connections."""

    def ready() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


def end(pids: Sequence[int]) -> None:
    """Ask processes that lead their groups to stop, wait, and kill what is left of the groups."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and any(identity(pid) for pid in pids):
        time.sleep(0.05)
    for pid in pids:
        _kill_group(pid)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with status {code}"
