"""Words that a summary may write with a capital within a sentence, or that only look like a name: those of the trade, of
marketing and of the calendar. A person's name beside them is still found."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

TRADE = frozenset(
    """january february march april may june july august september october november december jan feb mar apr jun jul aug sep
    sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun christmas thanksgiving
    easter memorial labor independence veterans presidents columbus new year eve spring summer autumn fall winter
    google ads ad business profile local services service maps search console organic paid direct referral bing yahoo microsoft
    facebook meta instagram yelp nextdoor thumbtack angi homeadvisor callrail hubspot twilio quickbooks intuit online website
    web site form forms phone call calls text texts email emails mail sms chat crm hvac ac air conditioning furnace plumbing
    plumber plumbers roofing roofer roofers heating cooling drain drains water heater heaters leak leaks sewer line pipe pipes
    gas electric electrical electrician panel repair repairs install installation replacement inspection tune tuneup cleaning
    duct ducts emergency roof gutter gutters storm hail septic toilet faucet boiler heat pump maintenance remodel system
    lead leads job jobs quote quotes estimate estimates invoice invoices booking bookings booked revenue customer customers
    client clients owner office team marketing marketplace marketplaces campaign campaigns channel channels source sources
    week weeks month months quarter day days hour hours minute minutes today yesterday tomorrow total average median
    utc est edt cst cdt mst mdt pst pdt us usa usd dollars america american english pdf csv roi kpi seo ppc ai faq id ok am pm
    unknown wireless caller anonymous private unavailable restricted toll free name number spam test guest cash walk
    i we you our your it he she they the a an llc inc co corp company sons bros brothers and of for leadtrail other""".split()  # noqa: SIM905
)


@cache
def names() -> frozenset[str]:
    """Given names and surnames that are no ordinary words: told in any case."""
    return _read("names.txt")


@cache
def names_that_are_words() -> frozenset[str]:
    """Names that are ordinary words too (Bill, Young): told by their capital, or by the name beside them."""
    return _read("names_that_are_words.txt")


def names_text() -> str:
    return "".join(_text(name) for name in ("names.txt", "names_that_are_words.txt"))


@cache
def common_words() -> frozenset[str]:
    """What no sentence does without."""
    from spacy.lang.en.stop_words import STOP_WORDS  # with Presidio; takes a second, so only when somebody looks

    return frozenset(STOP_WORDS)


def _read(name: str) -> frozenset[str]:
    lines = _text(name).splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _text(name: str) -> str:
    return files("pipeline.client_safe").joinpath("data", name).read_text(encoding="utf-8")
