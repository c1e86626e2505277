"""What a client must never read: found in any spelling, and nothing else taken for it."""

from __future__ import annotations

import pytest

from bench.redaction.__main__ import TARGETS, Score, ridgeline, score
from bench.redaction.gold import clean_drafts, customers, gold_drafts
from bench.redaction.people import PHONES, customer
from pipeline.client_safe.document import Content, Section
from pipeline.client_safe.known_values import KnownValues
from pipeline.client_safe.redaction import find_in, find_personal_data, hits, mask, redact


@pytest.fixture(scope="module")
def known() -> KnownValues:
    return ridgeline(2_000, 5)


def test_what_is_known_of_customers_is_masked_in_every_spelling(known):
    total = Score()
    score(gold_drafts(5, 80, customers(5, 2_000), is_known=True), known, total)
    assert total.misses == []
    assert sum(total.planted.values()) > 200


def test_what_nobody_told_us_of_is_found_as_often_as_promised(known):
    total = Score()
    score(gold_drafts(5, 120, (), is_known=False), known, total)
    short = {
        entity: round(total.recall(False, entity), 3)
        for (_, entity), planted in total.planted.items()
        if total.found[False, entity] < TARGETS[entity] * planted - 1  # one may be missed in a sample as small as this
    }
    assert short == {}


def test_summaries_without_personal_data_are_not_blocked(known):
    for text in clean_drafts(5, 80):
        assert find_personal_data(text, known) == [], text


def test_the_gold_set_spells_a_phone_in_at_least_twelve_ways_and_each_is_found_unseen():
    import random

    one = customer(random.Random(8))
    spellings = {spell(one) for spell in PHONES.values()}
    assert len(spellings) >= 12
    assert [spelling for spelling in spellings if not hits(f"They left {spelling} with us.", KnownValues())] == []


def test_the_clients_own_name_and_number_are_no_personal_data(known):
    assert mask("Call Ridgeline Plumbing & Heating at 512.555.0100 today.", known).endswith("at 512.555.0100 today.")
    assert "[phone number]" in mask("Call Ridgeline Plumbing & Heating at 512.555.0101 today.", known)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("invoice 1004 is paid", "invoice [order number] is paid"),
        ("1004 calls came", "1004 calls came"),
        ("an order of 1,004 parts", "an order of 1,004 parts"),
        ("$5,550,142 of revenue", "$5,550,142 of revenue"),
        ("reach 555-0142", "reach [phone number]"),
        ("Grace was pleased", "Grace was pleased"),  # at the start of a sentence it may be the word
        ("we thank Grace for it", "we thank [name] for it"),
        ("grace under pressure", "grace under pressure"),
        ("GRACE O'BRIEN", "[name]"),
        ("o’brien, grace", "[name]"),
    ],
)
def test_a_known_value_is_told_from_a_word_or_a_figure_that_looks_like_it(text, masked):
    known = KnownValues()
    known.add_name("Grace O'Brien")
    known.add_phone("512-555-0142")
    known.add_order("1004")
    assert mask(text, known) == masked


def test_what_a_caller_screen_shows_instead_of_a_name_is_nobodys_name():
    known = KnownValues()
    known.add_name("WIRELESS CALLER")
    assert hits("One wireless caller hung up.", known) == []


def test_a_redacted_draft_is_scanned_again_and_what_is_left_is_a_finding_that_does_not_quote_it(known):
    content = Content(
        "June at a glance",
        "We heard from Xochitl Okonkwo-Reyes twice.",
        (Section("What we did", ("She left 646-555-0177.", "Paid by 4111 1111 1111 1111.")),),
    )
    redacted = redact(content, known)
    assert redacted.sections[0].lines == ("She left [phone number].", "Paid by [card number].")
    [finding] = find_in(redacted, known)  # a name that nobody told us of is not masked on a guess, but it blocks
    assert finding.where.startswith("opening")
    assert not any(word in finding.what + finding.excerpt for word in ("Xochitl", "Okonkwo", "Reyes"))
    assert find_in(redacted, known) == [finding]  # the same again, so that clearing it lasts


def test_two_names_of_the_same_shape_are_two_findings(known):
    findings = find_personal_data("We met Xanthe and Xenobi there.", known)
    assert len({finding.finding_id for finding in findings}) == 2
