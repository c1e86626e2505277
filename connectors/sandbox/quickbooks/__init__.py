"""QuickBooks Online as the sandbox serves it.

server.py  routes, errors and the control methods for tests
books.py  the town's customers and transactions in QuickBooks' JSON, per company
query.py  the query language
reading.py  finding the rows a query asks for
tokens.py  OAuth: tokens that rotate and survive a restart
webhooks.py  what it tells of changes, in both formats
"""

from connectors.sandbox.quickbooks.server import SandboxQuickBooks

__all__ = ["SandboxQuickBooks"]
