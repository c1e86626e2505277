"""HubSpot CRM: contacts, deals with their stage history, tasks, owners and pipelines.

account.py      paths, limits, and what HubSpot's refusals mean
objects.py      reading CRM objects and their associations
webhooks.py     signatures and events
our_records.py  the tasks and notes we made, found again
deliver.py      making a task or a note exactly once
handoff.py      changing a contact, and taking it back
"""

from connectors.hubspot.connector import HubSpot, HubSpotOptions

__all__ = ["HubSpot", "HubSpotOptions"]
