"""HubSpot's side: one portal for each client of the town.

schema.py   object types, properties, association types
portal.py   one account: its objects, links, people and pipeline
search.py   the search language
writes.py   what it accepts and refuses
api.py      paths, credentials, scopes, limits, paging
events.py   signed webhooks
"""

from connectors.sandbox.hubspot.api import SandboxHubSpot

__all__ = ["SandboxHubSpot"]
