"""Search Console over the town.

demand.py     what was searched and shown: the facts
query.py      the report call
key.py        the service account's key
provider.py   sign-in, properties, paging, knobs
"""

from connectors.sandbox.search_console.provider import SandboxSearchConsole

__all__ = ["SandboxSearchConsole"]
