"""One broken character or record never stops a feed or a build: it is mended or put aside, and the rest goes on."""

from __future__ import annotations

from pathlib import Path

import msgspec

from connectors.base import Record
from connectors.broken_text import mended_json
from connectors.http import Account, Http, StaticAuth
from tests.conftest import NOW, Stub
from tests.warehouse import Landed, staged


class Answer(msgspec.Struct):
    calls: list[msgspec.Raw]


def test_half_an_emoji_becomes_a_replacement_character_and_a_whole_one_stays() -> None:
    assert mended_json(rb'"a \ud83d\ude00 b"') == rb'"a \ud83d\ude00 b"'
    assert mended_json(rb'"cut \ud83d"') == rb'"cut \ufffd"'
    assert mended_json(rb'"tail \ude00!"') == rb'"tail \ufffd!"'
    assert mended_json(rb'"two \ud83d\ud83d\ude00"') == rb'"two \ufffd\ud83d\ude00"'
    assert mended_json("é".encode() + b"\xff") == "é\ufffd".encode()


def test_a_page_with_half_an_emoji_is_read_at_the_first_attempt(stub: Stub, http: Http) -> None:
    stub.script = [(200, {}, b'{"calls":[{"id":"1","note":"thanks \\ud83d"},{"id":"2"}]}')]
    account = Account(http, connection="acme/callrail", base_url=stub.origin, auth=StaticAuth({}))
    answer = account.get("/calls", Answer)
    assert [bytes(call) for call in answer.calls] == [b'{"id":"1","note":"thanks \\ufffd"}', b'{"id":"2"}']
    assert len(stub.requests) == 1


def test_a_payload_that_is_not_utf8_or_not_json_is_put_aside_and_the_rest_is_built(tmp_path: Path) -> None:
    def form(name: str, payload: bytes) -> Landed:
        return Landed("acme", "forms", "submissions", Record(name, payload, NOW), via="webhook")

    whole = b'{"content_key":"k","name":"Ana"}'
    landed = [form("good", whole), form("latin1", whole.replace(b"Ana", b"Jos\xe9")), form("torn", whole[:25])]
    with staged(tmp_path, landed, "base_forms__submissions") as warehouse:
        rows = warehouse.execute(
            "select record_id, full_name, rejected_because from staging.base_forms__submissions order by 1"
        ).fetchall()
    assert rows == [("good", "Ana", None), ("latin1", "Jos\ufffd", None), ("torn", None, "content_key is missing")]
