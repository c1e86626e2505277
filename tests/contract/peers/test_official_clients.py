"""The providers' own client libraries, pointed at the sandbox, read the same records as we do and meet their own errors.

None of them is among this project's packages: a test runs where its library happens to be installed, else it is skipped.
To run them all: pip install hubspot-api-client twilio google-api-python-client google-auth-httplib2 python-quickbooks
"""

from collections import Counter
from datetime import UTC, datetime

import pytest

from connectors.sandbox.run import RunningSandbox, start_sandbox

END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
PROVIDERS = ("hubspot", "twilio", "search_console", "quickbooks")


@pytest.fixture(scope="module")
def sandbox():
    running = start_sandbox(seed=5, clients=1, months=2, leads_per_month=40, end=END, providers=PROVIDERS)
    yield running
    running.stop()


def expected(sandbox: RunningSandbox, provider: str) -> Counter:
    return Counter(stream for _, stream, _, _ in sandbox.providers[provider].records())


def test_hubspot_api_client_reads_writes_and_raises_its_own_errors(sandbox):
    hubspot = pytest.importorskip("hubspot")
    from hubspot.crm import contacts
    from hubspot.utils.objects import fetch_all

    def client(token: str):
        made = hubspot.HubSpot(access_token=token)
        made.config["host"] = f"{sandbox.origin}/hubspot"
        return made

    portal = client(sandbox.credentials()["hubspot"]["access_token"])
    want = expected(sandbox, "hubspot")
    for name, api in (
        ("contacts", portal.crm.contacts.basic_api),
        ("deals", portal.crm.deals.basic_api),
        ("tasks", portal.crm.objects.tasks.basic_api),
    ):
        found = [*fetch_all(api), *fetch_all(api, archived=True)]
        assert len({one.id for one in found}) == want[name], name
    pipeline = portal.crm.pipelines.pipelines_api.get_all("deals").results[0]
    stages = portal.crm.pipelines.pipeline_stages_api.get_all("deals", pipeline.id).results
    assert [stage.id for stage in stages] == [stage.id for stage in pipeline.stages]

    given = contacts.SimplePublicObjectInputForCreate(properties={"email": "peer@example.com"}, associations=[])
    made = portal.crm.contacts.basic_api.create(simple_public_object_input_for_create=given)
    assert portal.crm.contacts.basic_api.get_by_id("peer@example.com", id_property="email").id == made.id
    with pytest.raises(contacts.exceptions.ApiException) as twice:
        portal.crm.contacts.basic_api.create(simple_public_object_input_for_create=given)
    assert twice.value.status == 409
    with pytest.raises(contacts.exceptions.NotFoundException):
        portal.crm.contacts.basic_api.get_by_id("123")
    with pytest.raises(contacts.exceptions.UnauthorizedException):
        client("wrong").crm.contacts.basic_api.get_page()


def test_twilio_pages_both_ways_sends_and_raises_its_own_errors(sandbox):
    pytest.importorskip("twilio")
    from twilio.base.exceptions import TwilioRestException
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class Redirected(TwilioHttpClient):
        def request(self, method, url, *args, **kwargs):
            here = url.replace("https://api.twilio.com", f"{sandbox.origin}/twilio")
            return super().request(method, here, *args, **kwargs)

    said = sandbox.credentials()["twilio"]
    client = Client(said["account_sid"], said["auth_token"], http_client=Redirected())
    assert len({one.sid for one in client.messages.list(page_size=20)}) == expected(sandbox, "twilio")["messages"]
    second = client.messages.page(page_size=10).next_page()
    back = [one.sid for one in second.previous_page()]
    assert back == [one.sid for one in client.messages.page(page_size=10)]

    sent = client.messages.create(to="+12085559999", from_=said["from"], body="Hello")
    assert client.messages(sent.sid).fetch().body == "Hello"
    for to, code in (("+15005550001", 21211), ("+15005550009", 21614)):
        with pytest.raises(TwilioRestException) as refused:
            client.messages.create(to=to, from_=said["from"], body="Hello")
        assert refused.value.code == code
    with pytest.raises(TwilioRestException) as stranger:
        Client(said["account_sid"], "wrong", http_client=Redirected()).messages(sent.sid).fetch()
    assert (stranger.value.status, stranger.value.code) == (401, 20003)


@pytest.mark.parametrize(
    ("api", "version", "mount"), [("searchconsole", "v1", ""), ("webmasters", "v3", "/webmasters/v3/")]
)
def test_google_api_client_signs_in_and_pages(sandbox, api, version, mount):
    discovery = pytest.importorskip("googleapiclient.discovery")
    pytest.importorskip("google_auth_httplib2")
    from google.oauth2.service_account import Credentials
    from googleapiclient.errors import HttpError

    said = sandbox.credentials()["search_console"]
    scope = "https://www.googleapis.com/auth/webmasters.readonly"
    service = discovery.build(
        api,
        version,
        credentials=Credentials.from_service_account_info(said["service_account"], scopes=[scope]),
        static_discovery=True,
        cache_discovery=False,
        client_options={"api_endpoint": f"{sandbox.origin}/search_console{mount}"},
    )
    site = said["site_urls"][0]
    assert site in [entry["siteUrl"] for entry in service.sites().list().execute()["siteEntry"]]
    days = {"startDate": str(sandbox.town.start.date()), "endDate": str(END.date()), "dimensions": ["date", "query"]}

    def rows(start: int, limit: int) -> list:
        asked = {**days, "startRow": start, "rowLimit": limit}
        return service.searchanalytics().query(siteUrl=site, body=asked).execute().get("rows", [])

    whole = rows(0, 25_000)
    pages = [rows(start, 100) for start in range(0, len(whole) + 100, 100)]
    assert len(whole) > 100
    assert [row for page in pages for row in page] == whole
    assert pages[-1] == []
    with pytest.raises(HttpError) as foreign:
        service.searchanalytics().query(siteUrl="sc-domain:other.example", body=days).execute()
    assert foreign.value.status_code == 403
    assert foreign.value.error_details[0]["reason"] == "forbidden"


def test_python_quickbooks_refreshes_its_token_reads_and_raises_its_own_errors(sandbox, monkeypatch):
    quickbooks = pytest.importorskip("quickbooks")
    from intuitlib.client import AuthClient
    from quickbooks.exceptions import AuthorizationException, ObjectNotFoundException, ValidationException
    from quickbooks.objects.estimate import Estimate
    from quickbooks.objects.invoice import Invoice
    from quickbooks.objects.payment import Payment

    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    base, said = f"{sandbox.origin}/quickbooks", sandbox.credentials()["quickbooks"]
    monkeypatch.setattr(quickbooks.QuickBooks, "api_url_v3", f"{base}/v3")

    def auth(**more: str) -> AuthClient:
        app = {name: said[name] for name in ("client_id", "client_secret")}
        discovery = f"{base}/.well-known/openid_configuration"
        return AuthClient(**app, environment=discovery, redirect_uri="http://localhost/back", **more)

    signed_in = auth()
    signed_in.refresh(refresh_token=said["refresh_token"])
    books = quickbooks.QuickBooks(auth_client=signed_in, company_id=said["realm_id"])
    want = expected(sandbox, "quickbooks")
    for stream, kind in (("invoices", Invoice), ("payments", Payment), ("estimates", Estimate)):
        found = [
            one.Id
            for start in range(1, want[stream] + 51, 50)
            for one in kind.filter(order_by="MetaData.LastUpdatedTime", start_position=start, max_results=50, qb=books)
        ]
        assert len(found) == len(set(found)) == want[stream] == kind.count(qb=books), stream
    with pytest.raises(ObjectNotFoundException):
        Invoice.get("99999999", qb=books)
    with pytest.raises(ValidationException) as unknown:
        books.query("select * from Nonsense")
    assert unknown.value.error_code == 4001
    stranger = quickbooks.QuickBooks(auth_client=auth(access_token="wrong"), company_id=said["realm_id"])
    with pytest.raises(AuthorizationException):
        Invoice.all(qb=stranger)
