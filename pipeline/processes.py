"""Which process is this? Its id alone is given to another one after a while, and to anybody after a reboot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NICE = 10  # of work that nobody waits for: a missed call goes first
_BOOT = Path("/proc/sys/kernel/random/boot_id")


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
