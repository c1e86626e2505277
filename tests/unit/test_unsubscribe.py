"""Unsubscribe links: only ours count, and they name nobody."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from connectors.smtp.letter import HTTPS
from pipeline.follow_up.unsubscribe import NoPublicAddress, Tokens, unsubscribe_url
from pipeline.settings import Settings


def settings(home: Path, key: bytes = b"k" * 32, url: str = "https://hooks.agency.example/") -> Settings:
    return Settings.from_env(
        {
            "LEADTRAIL_HOME": str(home),
            "LEADTRAIL_KEY": base64.b64encode(key).decode(),
            "LEADTRAIL_PUBLIC_URL": url,
        }
    )


def test_a_link_is_read_again_as_client_and_address(tmp_path: Path) -> None:
    ours = settings(tmp_path)
    url = unsubscribe_url(ours, "ridgeline", " Ann.Oakes@Example.com ")
    assert url.startswith("https://hooks.agency.example/u/")
    assert HTTPS.fullmatch(url), "a mail can carry it"
    assert Tokens(ours).read(url.rpartition("/")[2]) == ("ridgeline", "ann.oakes@example.com")
    assert url == unsubscribe_url(ours, "ridgeline", "ann.oakes@example.com"), "the same mail has the same link"


def test_a_link_names_nobody(tmp_path: Path) -> None:
    token = unsubscribe_url(settings(tmp_path), "ridgeline", "ann.oakes@example.com").rpartition("/")[2]
    sealed = base64.urlsafe_b64decode(token + "==")
    assert b"ann" not in sealed
    assert b"ridgeline" not in sealed


def test_a_token_that_was_changed_or_made_with_another_key_is_none_of_ours(tmp_path: Path) -> None:
    ours = Tokens(settings(tmp_path))
    token = ours.make("ridgeline", "ann@example.com")
    wrong = [token[:n] + ("A" if token[n] != "A" else "B") + token[n + 1 :] for n in range(len(token) - 1)]
    wrong += ["", "x", "é", "====", token[:-4], "A" * 5000, Tokens(settings(tmp_path, b"o" * 32)).make("a", "b@c.de")]
    assert [one for one in wrong if ours.read(one)] == []


@pytest.mark.parametrize("url", ["", "http://hooks.agency.example"])
def test_without_a_public_https_address_there_is_no_link_and_the_error_says_what_to_set(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(NoPublicAddress, match="LEADTRAIL_PUBLIC_URL"):
        unsubscribe_url(settings(tmp_path, url=url), "ridgeline", "ann@example.com")
