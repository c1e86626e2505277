"""What other people's clients were seen to need of the sandbox, asked for over plain HTTP."""

from datetime import UTC, datetime

import httpx
import pytest

from connectors.sandbox.run import start_sandbox

END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def sandbox():
    running = start_sandbox(seed=5, clients=1, months=1, leads_per_month=30, end=END)
    yield running
    running.stop()


@pytest.fixture
def hubspot(sandbox):
    token = sandbox.credentials()["hubspot"]["access_token"]
    with httpx.Client(base_url=f"{sandbox.origin}/hubspot", headers={"authorization": f"Bearer {token}"}) as client:
        yield client


def test_twilios_links_lead_on_from_the_hosts_root(sandbox):
    said = sandbox.credentials()["twilio"]
    first = f"{sandbox.origin}/twilio/2010-04-01/Accounts/{said['account_sid']}/Messages.json?PageSize=5"
    with httpx.Client(auth=(said["account_sid"], said["auth_token"])) as client:
        page = client.get(first).json()
        resolved = httpx.URL(first).join(page["next_page_uri"])
        assert not resolved.path.startswith("/twilio/")
        following = client.get(resolved).json()
        prefixed = client.get(f"{sandbox.origin}/twilio{page['next_page_uri']}").json()
        back = client.get(httpx.URL(first).join(following["previous_page_uri"])).json()
    assert [one["sid"] for one in following["messages"]] == [one["sid"] for one in prefixed["messages"]]
    assert [one["sid"] for one in back["messages"]] == [one["sid"] for one in page["messages"]]


def test_twilio_lists_what_nobody_in_town_has_as_empty(sandbox):
    said = sandbox.credentials()["twilio"]
    with httpx.Client(base_url=f"{sandbox.origin}/twilio", auth=(said["account_sid"], said["auth_token"])) as client:
        account = client.get("/2010-04-01/Accounts.json").json()["accounts"][0]
        calls = client.get(account["subresource_uris"]["calls"])
    assert calls.status_code == 200
    assert calls.json()["calls"] == []


@pytest.mark.parametrize("word", ["true", "True"])
def test_hubspot_takes_pythons_spelling_of_true(sandbox, hubspot, word):
    portal = sandbox.providers["hubspot"].portal(sandbox.town.clients[0].client_id)
    made = portal.add("contacts", {"email": f"{word}@gone.example"})
    portal.archive("contacts", made.id)
    found = hubspot.get("/crm/v3/objects/contacts", params={"archived": word, "limit": 100}).json()["results"]
    assert str(made.id) in [one["id"] for one in found]
    assert all(one["archived"] for one in found)


def test_hubspot_serves_stages_and_refuses_what_is_below_them(hubspot):
    (pipeline,) = hubspot.get("/crm/v3/pipelines/deals").json()["results"]
    root = f"/crm/v3/pipelines/deals/{pipeline['id']}"
    assert hubspot.get(f"{root}/stages").json()["results"] == pipeline["stages"]
    assert hubspot.get(f"{root}/stages/{pipeline['stages'][0]['id']}").json() == pipeline["stages"][0]
    for wrong in ("/stages/nope", "/nope", f"/stages/{pipeline['stages'][0]['id']}/more"):
        assert hubspot.get(root + wrong).status_code == 404, wrong


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("search", b"[]"),
        ("search", b'{"filterGroups":[5]}'),
        ("search", b'{"limit":"many"}'),
        ("batch/read", b'{"inputs":[5]}'),
        ("batch/upsert", b"null"),
        ("merge", b"{"),
        ("merge", b"\xff\xfe"),
    ],
)
def test_hubspot_refuses_a_body_of_the_wrong_shape(hubspot, path, body):
    answer = hubspot.post(f"/crm/v3/objects/contacts/{path}", content=body)
    assert answer.status_code == 400
    assert answer.json()["category"] == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "no such fault"},
        {"kind": "429", "provider": "hubspott"},
        {"kind": "429", "tims": 3},
        {"kind": "429", "times": "often"},
        [{"kind": "500"}, 5],
    ],
)
def test_a_fault_that_would_never_strike_is_refused_whole(sandbox, asked):
    answer = httpx.post(f"{sandbox.origin}/_sandbox/faults", json=asked)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert sandbox.world.faults == []


def test_a_fault_may_give_its_retry_after_as_a_number(sandbox, hubspot):
    httpx.post(f"{sandbox.origin}/_sandbox/faults", json={"kind": 429, "provider": "hubspot", "retry_after": 7})
    answer = hubspot.get("/crm/v3/owners")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert hubspot.get("/crm/v3/owners").status_code == 200
    assert httpx.delete(f"{sandbox.origin}/_sandbox/faults").json() == {"faults": 0}
