"""Twilio's side of the sandbox: one account for each client of the town.

api.py       paths, credentials, lists and refusals
messages.py  a message, its walk through the statuses, and its wire format
webhooks.py  what Twilio posts to the client's URLs
"""

from connectors.sandbox.twilio.api import SandboxTwilio

__all__ = ["SandboxTwilio"]
