"""HubSpot CRM: contacts, deals with their stage history, tasks, owners and pipelines.

account.py   paths, limits, and what HubSpot's refusals mean
objects.py   reading CRM objects and their associations
webhooks.py  signatures and events
tasks.py     making a task exactly once
"""

from connectors.hubspot.connector import HubSpot, HubSpotOptions
from connectors.hubspot.tasks import TaskDraft

__all__ = ["HubSpot", "HubSpotOptions", "TaskDraft"]
