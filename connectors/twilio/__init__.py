"""Twilio Programmable Messaging: text messages, what became of them, and the numbers they went through.

account.py    calls, lists, and what Twilio's refusals mean
history.py    reading messages without a "changed since" filter
deliver.py    sending a text at most once
signature.py  proof that a webhook is Twilio's
"""

from connectors.twilio.connector import Twilio, TwilioOptions

__all__ = ["Twilio", "TwilioOptions"]
