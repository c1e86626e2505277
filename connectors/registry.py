"""Every provider, in the order in which people meet them. Adding one is a line here (see docs/adding-a-provider.md)."""

from __future__ import annotations

from importlib import import_module

from connectors.base import Connector

# provider -> the module of its connector, and the class in it; the sandbox module has the same name
CONNECTORS: dict[str, str] = {
    "callrail": "CallRail",
    "hubspot": "HubSpot",
    "search_console": "SearchConsole",
    "quickbooks": "QuickBooks",
    "thumbtack": "Thumbtack",
    "angi": "Angi",
    "twilio": "Twilio",
    "forms": "Forms",
    "smtp": "Smtp",
    "mail": "Mail",
}


def connector_class(provider: str) -> type[Connector]:
    """The connector of a provider. Imported on demand: a sync of one provider loads one connector."""
    return getattr(import_module(f"connectors.{provider}"), CONNECTORS[provider])  # type: ignore[no-any-return]


def reads_from(provider: str) -> bool:
    """Whether records come from it. The others are only delivered to."""
    return bool(connector_class(provider).streams)


def sandbox_provider(provider: str) -> type:
    """The sandbox's side of a provider, whose class is called `Sandbox<Class>`."""
    return getattr(import_module(f"connectors.sandbox.{provider}"), "Sandbox" + CONNECTORS[provider])  # type: ignore[no-any-return]
