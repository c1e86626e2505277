"""Starts Dagster's runs as forks of a process that has everything imported.

A run is a process. One that starts from nothing imports Dagster, dbt and our definitions first, some five seconds on a small
machine, and a missed call waits for them. This one has done so once and is then copied for each run. `leadtrail up` keeps it
running. Where it does not run, or its code is no longer what is on disk, a run starts from nothing, as it does elsewhere.
A run that had to load more than it was given says so when it ends, and the next ones are given that too.

One request on the socket starts one run: {"run": what `dagster api execute_run` takes, "nice": 0..19}. The answer is the
process's name (see `pipeline.processes`).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

from pipeline.processes import identity, stand_back
from pipeline.settings import Settings

ROOT = Path(__file__).parent.parent
STOP_SECONDS = 10  # Dagster notes in the run's log that it was interrupted
ASK_SECONDS = 5.0
PIPE_BYTES = 65_536


def start_run(settings: Settings, run: str, nice: int) -> str:
    """Have the running starter start a run. Returns the name of its process, or "" if there is no starter to do it."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ASK_SECONDS)
            line.connect(_address(settings).read_text())
            line.sendall(json.dumps({"run": run, "nice": nice}).encode() + b"\n")
            return line.makefile("r").readline().strip()
    except OSError:
        return ""


def cold_start(run: str, nice: int) -> list[str]:
    """The command that starts a run from nothing."""
    return [sys.executable, "-m", "pipeline.run_starter", "run", str(nice), run]


def serve(module: str) -> list[str]:
    """The command that keeps a starter for the definitions in `module`."""
    return [sys.executable, "-m", "pipeline.run_starter", "serve", module]


def main() -> None:
    match sys.argv[1:]:
        case ["serve", module]:
            _Starter(Settings.from_env()).serve(module)
        case ["run", nice, run]:
            _execute(run, int(nice))
        case _:
            sys.exit("`leadtrail up` starts this.")


class _Starter:
    def __init__(self, settings: Settings) -> None:
        self.settings, self.code = settings, _code()
        self.children: dict[int, int] = {}  # process -> the pipe in which it says what it had to load

    def serve(self, module: str) -> None:
        signal.signal(signal.SIGTERM, _leave)
        _preload(module)
        with tempfile.TemporaryDirectory(prefix="leadtrail-") as folder, socket.socket(socket.AF_UNIX) as listener:
            path = Path(folder) / "starter"  # a socket's path must be short, a home's need not be
            listener.bind(str(path))
            listener.listen()
            _write(_address(self.settings), str(path))
            try:
                self._answer(listener)
            finally:
                self._stop_runs()

    def _answer(self, listener: socket.socket) -> None:
        while True:
            self._bury()
            if select.select([listener], [], [], 1.0)[0]:
                line, _ = listener.accept()
                with line:
                    line.settimeout(ASK_SECONDS)
                    if _code() != self.code:
                        return  # nobody is answered: that run starts from nothing, and we are started again
                    with suppress(OSError, ValueError):
                        self._start(listener, line)

    def _start(self, listener: socket.socket, line: socket.socket) -> None:
        asked = json.loads(line.makefile("r").readline())
        told, tell = os.pipe()
        pid = os.fork()
        if pid:
            os.close(tell)
            self.children[pid] = told
            line.sendall(f"{identity(pid)}\n".encode())
            return
        try:
            os.setsid()
            listener.close()
            line.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            given = set(sys.modules)
            _execute(asked["run"], asked["nice"])
            os.set_blocking(tell, False)  # what the pipe does not hold is left out
            os.write(tell, "\n".join(name for name in sys.modules if name not in given).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)  # nothing of the starter's own clearing up is the run's to do

    def _bury(self) -> None:
        while self.children:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if (told := self.children.pop(pid, None)) is not None:
                _load(told)

    def _stop_runs(self) -> None:
        for pid in self.children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.children and time.monotonic() < deadline:
            self._bury()
            time.sleep(0.05)
        for pid in self.children:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _preload(module: str) -> None:
    """Load the definitions as a run does, and whatever else they say they will want."""
    definitions = importlib.import_module(module)
    definitions.defs.get_repository_def().get_all_jobs()
    if hasattr(definitions, "warm"):
        definitions.warm()
    _share()


def _load(told: int) -> None:
    """Import what a run had to import: the next ones find it there. A run that was killed has told nothing."""
    os.set_blocking(told, False)  # something that the run left behind may hold it open
    with os.fdopen(told, "rb", buffering=0) as pipe:
        names = (pipe.read(PIPE_BYTES) or b"").decode().split()
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
    if names:
        _share()


def _share() -> None:
    gc.collect()
    gc.freeze()  # so that looking for garbage in a copy does not copy what they share


def _execute(run: str, nice: int) -> None:
    if nice:
        stand_back(nice)
    (command,) = entry_points(group="console_scripts", name="dagster")
    sys.argv = ["dagster", "api", "execute_run", run]
    with suppress(SystemExit):
        command.load()()


def _code() -> int:
    """Changes with our code on disk."""
    files = [path for folder in ("pipeline", "connectors") for path in (ROOT / folder).rglob("*.py")]
    return hash(tuple(sorted((str(path), path.stat().st_mtime_ns) for path in files)))


def _address(settings: Settings) -> Path:
    return settings.dagster_home / "run_starter"


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _leave(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
