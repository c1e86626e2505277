"""QuickBooks Online: customers, estimates, invoices and the money that came in for them.

connector.py  the feed: first a listing of everything, then what changed
company.py    the calls we make to one company
progress.py   the cursor: how far each listing got, and which ids the company has
wire.py       entities, what an answer or a fault means, one record out of its JSON
token.py      the token endpoint
webhooks.py   hints that a record changed
"""

from connectors.quickbooks.connector import QuickBooks, QuickBooksOptions

__all__ = ["QuickBooks", "QuickBooksOptions"]
