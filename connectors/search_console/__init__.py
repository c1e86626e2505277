"""Google Search Console: what people searched for before they found a client's site, counted per Pacific day.

sign_in.py      an access token for a service account or a user
property.py     the report call for one property, its paging, and what Google's refusals mean
partitions.py   reports cut into partitions, the records we land
connector.py    which days to read, and how far we are
"""

from connectors.search_console.connector import SearchConsole, SearchConsoleOptions

__all__ = ["SearchConsole", "SearchConsoleOptions"]
