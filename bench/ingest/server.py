"""The provider's side of the benchmark: an HTTP server that costs next to nothing, so that what is measured is the reader.

    /v3/a/{account}/calls.json      N calls, evenly over the year before END, newest first; by page or by relative links,
                                    within start_date and end_date if they are given
    /v3/a/{account}/...             a tiny CallRail account: some five records in each list once `/_round` was asked for
    /v3/company/{realm}/...         a tiny QuickBooks company: five changes of each entity, likewise

Calls are rendered once, side by side in one buffer: a page is a slice of it. One thread for each connection, plain sockets.
The data are made up and the same each time. Run alone: `python -m bench.ingest.server 200000`; it prints its port.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
from array import array
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

END = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
LATELY = "2026-03-02T16:05:00.000Z"  # after END: what the tiny accounts hold is news to a sync an hour later
YEAR = timedelta(days=365)
COMPANY = "COM00000000000000000000000000000001"
FEW = 5

_SOURCES = (
    ("google_paid", "Google Ads", "cpc", "google"),
    ("google_organic", "Google Organic", "organic", "google"),
    ("google_my_business", "Google Business Profile", "local", "google"),
    ("facebook", "Facebook", "social", "facebook"),
    ("direct", "Direct", "direct", ""),
)
_FIRST, _LAST, _WORDS = (
    words.split()
    for words in (
        "Ana Ben Carla Dmitri Elena Farid Grace Hugo Ines Jamal Kofi Lena Marco Nadia Omar Priya Quinn Rosa Sam Tara",
        "Ruiz Okafor Smith Novak Haddad Kim Rossi Silva Jensen Patel Cohen Dubois Weber Lopez Brown Ito Moreau Ali",
        "water heater leak kitchen drain clogged roof shingles storm furnace noise no heat cooling estimate quote tomorrow "
        "morning afternoon asked about price financing second opinion urgent basement flooding pipe burst warranty visit",
    )
)
_CITIES = (("Decatur", "GA", "30030"), ("Austin", "TX", "78701"), ("Mesa", "AZ", "85201"), ("Tampa", "FL", "33602"))


def call(i: int, at: datetime, rng: random.Random, call_id: str = "") -> str:
    """One call of 40 fields, in CallRail's shape."""
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    city, state, zip_code = rng.choice(_CITIES)
    source, source_name, medium, utm = rng.choice(_SOURCES)
    note = " ".join(rng.choices(_WORDS, k=9))
    summary = " ".join(rng.choices(_WORDS, k=24))
    when = (at - timedelta(hours=5)).isoformat(timespec="milliseconds")[:23] + "-05:00"
    call_id, person = call_id or f"CAL{rng.getrandbits(128):032x}", f"PER{rng.getrandbits(128):032x}"
    gclid, prior, seconds = f"Cj0K{rng.getrandbits(200):050x}", rng.randrange(6), rng.randrange(900)
    answered = "true" if seconds else "false"
    phone, tracked = f"+1404555{rng.randrange(10_000):04d}", f"+1470555{i % 40:04d}"
    utm_source = f'"{utm}"' if utm else "null"
    value = f'"{rng.randrange(50, 4000)}.0"' if prior else "null"
    page = f"https://acme-{i % 7}.test/{_WORDS[i % len(_WORDS)]}?utm_source={utm}&gclid={gclid}"
    return (
        f'{{"id":"{call_id}","answered":{answered},"business_phone_number":"+14045550110","customer_city":"{city}",'
        f'"customer_country":"US","customer_name":"{first} {last}","customer_phone_number":"{phone}","customer_state":"{state}",'
        f'"direction":"inbound","duration":{seconds},'
        f'"recording":"https://api.callrail.com/v3/a/ACC1/calls/{call_id}/recording.json","recording_duration":"{seconds}",'
        f'"recording_player":"https://app.callrail.com/calls/{call_id}/recording?access_key={rng.getrandbits(80):020x}",'
        f'"start_time":"{when}","tracking_phone_number":"{tracked}","voicemail":false,'
        f'"call_type":"{"repeat" if prior else "first_call"}","company_id":"{COMPANY}",'
        f'"company_time_zone":"America/New_York","created_at":"{when}","device_type":"Mobile",'
        f'"first_call":{"false" if prior else "true"},"prior_calls":{prior},"total_calls":{prior + 1},"lead_status":"good_lead",'
        f'"value":{value},"note":"{note}","tags":["Booked","{_WORDS[i % 5]}"],"source":"{source}",'
        f'"source_name":"{source_name}","medium":"{medium}","campaign":"Drains-{i % 12}","keywords":"{note[:30]}",'
        f'"landing_page_url":"{page}","utm_source":{utm_source},"utm_campaign":"Drains-{i % 12}","gclid":"{gclid}",'
        f'"person_id":"{person}","zip_code":"{zip_code}","call_summary":"{summary}. {note}."}}'
    )


class Calls:
    """All calls, newest first, as one buffer; `ends[i]` is where call i ends, and `times[i]` when it was."""

    def __init__(self, count: int) -> None:
        rng = random.Random(7)
        step = YEAR / max(count, 1)
        self.count = count
        self.newest = END - timedelta(minutes=1)
        self.step = step.total_seconds()
        parts = [call(i, self.newest - i * step, rng).encode() + b"," for i in range(count)]
        self.starts = array("Q", [0])
        for part in parts:
            self.starts.append(self.starts[-1] + len(part))
        self.buffer = memoryview(b"".join(parts))

    def window(self, start: str, end: str) -> tuple[int, int]:
        """Indices of the calls in a stretch of time."""
        return self._index(end, 0), self._index(start, self.count)

    def _index(self, text: str, default: int) -> int:
        if not text:
            return default
        age = (self.newest - datetime.fromisoformat(text)).total_seconds()
        return min(max(0, int(-(-age // self.step))), self.count)

    def slice(self, first: int, last: int) -> memoryview:
        return self.buffer[self.starts[first] : max(self.starts[first], self.starts[last] - 1)]


class Provider:
    """Answers requests. `round` 0: the tiny accounts hold nothing yet; later each round serves five new records a list."""

    def __init__(self, count: int, origin: str) -> None:
        self.calls, self.origin, self.round, self.requests = Calls(count), origin, 0, 0

    def answer(self, method: str, target: str) -> list[bytes | memoryview]:
        self.requests += 1
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path in ("/_round", "/_count"):
            self.round += url.path == "/_round"
            self.requests, before = 0, self.requests
            return [b"%d" % (before - 1)]
        if url.path.startswith("/v3/a/ACC1/") and url.path.endswith("/calls.json"):
            return self._calls(url.path, query)
        if url.path.startswith("/v3/a/"):
            return [self._callrail(url.path)]
        return [self._quickbooks(url.path, query)]

    # ---- many calls ----

    def _calls(self, path: str, query: dict[str, str]) -> list[bytes | memoryview]:
        low, high = self.calls.window(query.get("start_date", ""), query.get("end_date", ""))
        size = int(query.get("per_page", 100))
        relative = query.get("relative_pagination") == "true"
        turn = int(query.get("offset", 0)) if relative else int(query.get("page", 1)) - 1
        first, last = min(low + turn * size, high), min(low + (turn + 1) * size, high)
        if relative:
            link = f'"{self.origin}{path}?{urlencode({**query, "offset": turn + 1})}"' if last < high else "null"
            head = (
                f'{{"per_page":{size},"has_next_page":{"true" if last < high else "false"},"next_page":{link},"calls":['
            )
        else:
            pages = -(-(high - low) // size)
            head = f'{{"page":{turn + 1},"per_page":{size},"total_pages":{pages},"total_records":{high - low},"calls":['
        return [head.encode(), self.calls.slice(first, last), b"]}"]

    # ---- tiny accounts ----

    def _callrail(self, path: str) -> bytes:
        account, _, name = path.removeprefix("/v3/a/").partition("/")
        if name.startswith("text-messages/"):
            return _text_thread(name.removeprefix("text-messages/").removesuffix(".json")).encode()
        if name == "companies.json":
            return _listed(
                "companies",
                [f'{{"id":"{COMPANY}","name":"Acme {self.round}","status":"active","created_at":"{LATELY}"}}'],
            )
        kind, prefix = {
            "trackers.json": ("trackers", "TRK"),
            "calls.json": ("calls", "CAL"),
            "form_submissions.json": ("form_submissions", "FOR"),
            "text-messages.json": ("conversations", "K"),
        }[name]
        number = int(account.removeprefix("ACC"))
        ids = [f"{prefix}{number:028x}{self.round:02x}{i:02x}" for i in range(FEW if self.round else 0)]
        if kind == "conversations":
            return _listed(kind, [_text_thread(one) for one in ids])
        if kind == "calls":
            rng = random.Random(number)
            return _listed(kind, [call(i, END + timedelta(minutes=5), rng, one) for i, one in enumerate(ids)])
        rest = f'"company_id":"{COMPANY}","company":{{"id":"{COMPANY}"}},"submitted_at":"{LATELY}","form_data":{{"zip":"30030"}}'
        return _listed(kind, [f'{{"id":"{one}",{rest}}}' for one in ids])

    def _quickbooks(self, path: str, query: dict[str, str]) -> bytes:
        if path.endswith("/bearer"):
            return b'{"access_token":"access","refresh_token":"next","expires_in":3600,"token_type":"bearer"}'
        if path.endswith("/query"):
            body = '{"totalCount":0}' if "count(*)" in query["query"] else "{}"
            return f'{{"QueryResponse":{body},"time":"{END.isoformat()}"}}'.encode()
        parts = []
        for entity in query["entities"].split(","):
            rows = [
                f'{{"Id":"{self.round * 100 + i}","SyncToken":"0","TotalAmt":1{i}25.5,"Balance":0,"DocNumber":"{i}",'
                f'"MetaData":{{"CreateTime":"{LATELY}","LastUpdatedTime":"{LATELY}"}}}}'
                for i in range(FEW if self.round else 0)
            ]
            parts.append(f'{{"{entity}":[{",".join(rows)}]}}' if rows else "{}")
        return f'{{"CDCResponse":[{{"QueryResponse":[{",".join(parts)}]}}],"time":"{LATELY}"}}'.encode()


def _text_thread(talk_id: str) -> str:
    message = f'{{"direction":"incoming","content":"Is Tuesday fine?","created_at":"{LATELY}","type":"sms"}}'
    return (
        f'{{"id":"{talk_id}","company_id":"{COMPANY}","last_message_at":"{LATELY}","state":"active",'
        f'"customer_phone_number":"+14045550123","messages":[{message}]}}'
    )


def _listed(kind: str, items: list[str]) -> bytes:
    return f'{{"page":1,"per_page":250,"total_pages":1,"total_records":{len(items)},"{kind}":[{",".join(items)}]}}'.encode()


def serve(connection: socket.socket, provider: Provider) -> None:
    """Requests of one connection, one after the other."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in waiting:
                more = connection.recv(65536)
                if not more:
                    return
                waiting += more
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            length = next(
                (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0
            )
            while len(waiting) < length:
                waiting += connection.recv(65536)
            waiting = waiting[length:]
            method, target = head.split(b" ", 2)[:2]
            parts = provider.answer(method.decode(), target.decode())
            size = sum(map(len, parts))
            parts.insert(0, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size)
            for part in parts if size > 65536 else [b"".join(parts)]:
                connection.sendall(part)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    provider = Provider(int(sys.argv[1]), origin)
    print(origin, flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, provider), daemon=True).start()


if __name__ == "__main__":
    main()
