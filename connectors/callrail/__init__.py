"""CallRail: calls, forms and texts through tracked numbers.

wire.py     the fields we ask for, the lists, and what is read of a record
windows.py  which stretch of time a run reads again, and when a record counts as absent
"""

from connectors.callrail.connector import CallRail, CallRailOptions

__all__ = ["CallRail", "CallRailOptions"]
