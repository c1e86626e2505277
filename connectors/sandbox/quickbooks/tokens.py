"""The token endpoint's memory. Tokens carry a generation and a MAC, so a sandbox that was started again still knows those
it issued before: a fresh process takes any genuine generation and goes on from the highest it has met.

`rotation` is "grace" (every refresh gives a new value; the old one works for another day, as older reports have it) or
"strict" (the old one is dead at once). With "grace", several homes can start from the same credentials.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connectors.sandbox.provider import World

ACCESS = timedelta(hours=1)
GRACE = timedelta(hours=24)
REFRESH_SECONDS = 8_726_400  # the rolling life QuickBooks usually announces


@dataclass
class Line:
    """One company's refresh tokens: the newest generation, and when each older one was superseded."""

    newest: int = 0
    superseded: dict[int, datetime] = field(default_factory=dict)
    revoked_up_to: int = -1


class Tokens:
    def __init__(self, world: World) -> None:
        self.world = world
        self.rotation = "grace"
        self.refreshes = 0  # successful ones, for tests that count them
        self._started = world.now()
        self._lines: dict[str, Line] = {}

    def refresh_token(self, realm: str, generation: int = 0) -> str:
        return f"RT1-{realm}-{generation}-{self.world.secret('quickbooks', 'refresh', realm, generation)}"

    def access_token(self, realm: str, generation: int) -> str:
        ends = int((self.world.now() + ACCESS).timestamp())
        return f"eyJ-{realm}-{generation}-{ends}-{self.world.secret('quickbooks', 'access', realm, generation, ends)}"

    def refresh(self, token: str) -> dict[str, object] | None:
        """New tokens for a refresh token; None if it is not, or no longer, good."""
        realm, generation = self._genuine(token)
        line = self._lines.setdefault(realm, Line())
        if generation is None or generation <= line.revoked_up_to or not self._alive(line, generation):
            return None
        now = self.world.now()
        for older in range(line.newest, generation):
            line.superseded.setdefault(older, now)
        line.newest = max(line.newest, generation)
        line.superseded.setdefault(line.newest, now)
        line.newest += 1
        self.refreshes += 1
        return self.issued(realm, line.newest)

    def issued(self, realm: str, generation: int) -> dict[str, object]:
        return {
            "access_token": self.access_token(realm, generation),
            "refresh_token": self.refresh_token(realm, generation),
            "expires_in": int(ACCESS.total_seconds()),
            "x_refresh_token_expires_in": REFRESH_SECONDS,
            "token_type": "bearer",
        }

    def authorise(self, realm: str) -> dict[str, object]:
        """What a person gets who connects again: a line of their own, whatever became of the old one."""
        line = self._lines.setdefault(realm, Line())
        line.superseded.setdefault(line.newest, self.world.now())
        line.newest += 1
        return self.issued(realm, line.newest)

    def revoke(self, token: str) -> None:
        parts = token.split("-")
        if len(parts) > 2 and parts[1] in self._lines:
            line = self._lines[parts[1]]
            line.revoked_up_to = line.newest

    def revoke_realm(self, realm: str) -> None:
        """The client disconnects us inside QuickBooks."""
        line = self._lines.setdefault(realm, Line())
        line.revoked_up_to = line.newest

    def realm_of(self, access_token: str) -> str:
        """The company an access token is good for; "" if it is not good."""
        parts = access_token.split("-")
        if len(parts) != 5 or parts[0] != "eyJ" or not (parts[2].isdigit() and parts[3].isdigit()):
            return ""
        _, realm, generation, ends, mac = parts
        if mac != self.world.secret("quickbooks", "access", realm, int(generation), int(ends)):
            return ""
        if int(ends) <= self.world.now().timestamp():
            return ""
        return "" if int(generation) <= self._lines.get(realm, Line()).revoked_up_to else realm

    def _genuine(self, token: str) -> tuple[str, int | None]:
        parts = token.split("-")
        if len(parts) == 4 and parts[2].isdigit() and token == self.refresh_token(parts[1], int(parts[2])):
            return parts[1], int(parts[2])
        return "", None

    def _alive(self, line: Line, generation: int) -> bool:
        if generation >= line.newest:
            return True
        superseded = line.superseded.get(generation, self._started)
        return self.rotation == "grace" and self.world.now() - superseded < GRACE
