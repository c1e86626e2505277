"""Where things are. Every setting is an environment variable with the prefix LEADTRAIL_; .env.example lists them all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`home` holds all state. `clients_file` names clients and connections; `secrets_file` optionally their secrets."""

    home: Path
    clients_file: Path
    secrets_file: Path | None = None
    store_url: str = ""
    key: str = ""
    public_url: str = ""
    desk_url: str = ""
    portal_url: str = ""
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_name: str = ""
    ai_base_url: str = ""
    ai_model: str = ""
    ai_key: str = ""
    keep_days: str = ""  # see pipeline.privacy.retention
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        env = os.environ if environ is None else environ
        home = Path(env.get("LEADTRAIL_HOME") or ".leadtrail").absolute()
        in_home = [home / name for name in ("clients.yaml", "secrets.env")]  # what `leadtrail run` leaves there
        clients, secrets = (path if path.exists() else None for path in in_home)
        if env.get("LEADTRAIL_SECRETS_FILE"):
            secrets = Path(env["LEADTRAIL_SECRETS_FILE"]).absolute()
        return cls(
            home=home,
            clients_file=Path(env.get("LEADTRAIL_CLIENTS_FILE") or clients or "clients.yaml").absolute(),
            secrets_file=secrets,
            store_url=env.get("LEADTRAIL_STORE_URL") or f"sqlite:///{home / 'store.db'}",
            key=env.get("LEADTRAIL_KEY", ""),
            public_url=env.get("LEADTRAIL_PUBLIC_URL", "").rstrip("/"),
            desk_url=env.get("LEADTRAIL_DESK_URL", "").rstrip("/"),
            portal_url=env.get("LEADTRAIL_PORTAL_URL", "").rstrip("/"),
            oidc_issuer=env.get("LEADTRAIL_OIDC_ISSUER", "").rstrip("/"),
            oidc_client_id=env.get("LEADTRAIL_OIDC_CLIENT_ID", ""),
            oidc_client_secret=env.get("LEADTRAIL_OIDC_CLIENT_SECRET", ""),
            oidc_name=env.get("LEADTRAIL_OIDC_NAME") or "your company account",
            ai_base_url=env.get("LEADTRAIL_AI_BASE_URL", "").rstrip("/"),
            ai_model=env.get("LEADTRAIL_AI_MODEL", ""),
            ai_key=env.get("LEADTRAIL_AI_KEY", ""),
            keep_days=env.get("LEADTRAIL_KEEP_DAYS", ""),
            environ=env,
        )

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        return self.home / "published"

    @property
    def analytics(self) -> Path:
        """The pointer people open: always the newest tested warehouse."""
        return self.home / "analytics.duckdb"

    @property
    def client_safe(self) -> Path:
        """The pointer the client portal opens: aggregates that are safe to show, and nothing else."""
        return self.home / "client_safe.duckdb"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def dbt_target(self) -> Path:
        return self.home / "dbt"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def portal_mail(self) -> dict[str, str]:
        """The mail server that sends clients their links: host, port, security, username, password, from."""
        env = self.environ
        return {
            "host": env.get("LEADTRAIL_PORTAL_MAIL_HOST", ""),
            "port": env.get("LEADTRAIL_PORTAL_MAIL_PORT", ""),
            "security": env.get("LEADTRAIL_PORTAL_MAIL_SECURITY", ""),
            "username": env.get("LEADTRAIL_PORTAL_MAIL_USERNAME", ""),
            "password": env.get("LEADTRAIL_PORTAL_MAIL_PASSWORD", ""),
            "from": env.get("LEADTRAIL_PORTAL_MAIL_FROM", ""),
        }

    def override(self, provider: str, option: str) -> str:
        """LEADTRAIL_<PROVIDER>_<OPTION>, e.g. the base URL that points a connector at another server."""
        return self.environ.get(f"LEADTRAIL_{provider}_{option}".upper(), "")
