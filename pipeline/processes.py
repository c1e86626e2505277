"""Which process is this? Its id alone is given to another one after a while, and to anybody after a reboot. And who
goes first."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

# how far work that nobody waits for stands back, by what it is: a missed call goes first. A build has the warehouse, which
# that call will need: syncs do not hold it up
NICE = {"sync": 10, "build": 4}
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SESSION = Path("/proc/self/autogroup")


def identity(pid: int) -> str:
    """A name that no other process of this machine ever has; "" if there is no such process (any more)."""
    since = _since_boot(pid) if _BOOT.exists() else _since(pid)
    return f"{pid}@{since}" if since else ""


def is_alive(name: str) -> bool:
    """Is the process of this name still at work?"""
    pid = name.partition("@")[0]
    return pid.isdecimal() and identity(int(pid)) == name


def pid_of(name: str) -> int:
    return int(name.partition("@")[0])


def stand_back(nice: int) -> None:
    """Leave the processor to what somebody waits for, from now on. Whoever leads a session of its own takes it along: where the
    kernel shares out by session (Linux does, unless a service manager has), one process is nice only to others of its own."""
    os.nice(nice)
    if os.getsid(0) == os.getpid():  # else it is a person's terminal
        with suppress(OSError):  # not Linux, or it does not
            _SESSION.write_text(str(nice))


def _since_boot(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()  # the command's name, in parentheses, may hold anything
    # one that has ended and waits for its parent to notice is gone
    return "" if state in "ZX" else f"{_BOOT.read_text().strip()}:{fields[18]}"


def _since(pid: int) -> str:
    asked = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    said = subprocess.run(asked, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout.split()
    return "" if not said or said[0].startswith("Z") else "-".join(said[1:])
