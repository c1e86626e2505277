"""Where the running services of a home listen. `leadtrail up` leaves it; `leadtrail verify` reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Addresses:
    """URLs without a slash at the end."""

    intake: str
    desk: str
    portal: str
    dagster: str

    def write(self, home: Path) -> None:
        _file(home).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, home: Path) -> Addresses | None:
        """As they were when `leadtrail up` was last started here, or None."""
        try:
            return cls(**json.loads(_file(home).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def _file(home: Path) -> Path:
    return home / "addresses.json"
