"""A mail is handed to a mail server at most once, over real SMTP; what the server leaves open is said to be open."""

from __future__ import annotations

import datetime as dt
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.base import ConnectorError, ProviderDown, RateLimited, Secret, TransientError
from connectors.delivery import EmailMessage, Receipt, Unconfirmable, Unconfirmed, Undeliverable
from connectors.http import Http
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import Fault
from connectors.sandbox.smtp import SandboxSmtp
from connectors.smtp import Smtp, SmtpOptions
from tests.conftest import NOW, Served

OFFICE = "office@ridgeline.example"
UNSUBSCRIBE = "https://leads.example/u/" + "4f" * 40
MAIL = EmailMessage(
    "k1", "ana@home.example", "Your water heater – a question", "Hi Ana,\n.\n..we missed your call.",
    html="<html><body><p>Hi Ana</p></body></html>", reply_to="dana@ridgeline.example", unsubscribe_url=UNSUBSCRIBE,
    postal_address="Ridgeline Plumbing\n1 Main & First St, Decatur GA 30030",
)  # fmt: skip
QUICK = 0.5  # seconds our client waits for an answer that will not come


@dataclass
class House:
    served: Served
    sandbox: SandboxSmtp
    http: Http
    monkeypatch: pytest.MonkeyPatch

    def smtp(self, **options: Any) -> Smtp:
        (client,) = self.served.town.clients
        given = {**self.sandbox.connection(client, ""), **options}
        return Smtp(SmtpOptions(**given), connection="ridgeline/smtp", http=self.http)

    def ledger(self) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.served.world.ledger]

    def strike(self, kind: str, **more: Any) -> None:
        if kind in ("slow", "timeout", "timeout_after_commit"):
            self.monkeypatch.setattr(Smtp, "timeout", QUICK)
        self.served.world.faults.append(Fault(kind, "smtp", **{"seconds": 2 * QUICK, **more}))  # type: ignore[arg-type]


@pytest.fixture
def house(serve: Callable[..., Served], http: Http, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    client = Client(
        n=1, client_id="ridgeline", name="Ridgeline, Plumbing & Sons", trade="plumbing", timezone="America/New_York",
        city="Decatur", state="GA", zip_codes=("30030",), area_code="404", domain="ridgeline.example",
        office_phone="+14045550110", sms_phone="+14045550111", lines=(), staff=(), joined_at=NOW,
    )  # fmt: skip
    served = serve(Town(seed=11, start=NOW, end=NOW, clients=[client]), SandboxSmtp)
    sandbox = served.providers["smtp"]
    assert isinstance(sandbox, SandboxSmtp)
    yield House(served, sandbox, http, monkeypatch)
    sandbox.close()


# ---- at most once ----


def test_a_mail_arrives_once_with_all_its_headers_and_its_text_unharmed(house: House) -> None:
    receipt = house.smtp().deliverer().deliver(MAIL)
    (taken,) = house.ledger()
    headers = taken["headers"]
    assert (taken["from"], taken["to"]) == (OFFICE, ["ana@home.example"])
    assert headers["From"] == f'"Ridgeline, Plumbing & Sons" <{OFFICE}>'
    assert headers["Subject"] == MAIL.subject
    assert headers["Reply-To"] == "dana@ridgeline.example"
    assert headers["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert headers["Message-ID"] == receipt.provider_ref
    text = taken["parts"]["text/plain"].replace("\r\n", "\n")
    assert text.startswith("Hi Ana,\n.\n..we missed your call.\n"), "a line that starts with a dot is no end"
    assert "1 Main & First St, Decatur GA 30030" in text
    assert UNSUBSCRIBE in text
    page = taken["parts"]["text/html"]
    assert "1 Main &amp; First St" in page
    assert page.rstrip().endswith("</body></html>")
    assert (receipt.state, receipt.facts) == ("accepted", {"code": 250, "enhanced": "2.0.0"})


def test_one_key_is_one_message_id_for_ever_and_another_key_another(house: House) -> None:
    deliverer = house.smtp().deliverer()
    again = house.smtp().deliverer().message_id(replace(MAIL, subject="Changed", sender=OFFICE))
    assert deliverer.message_id(MAIL) == again
    assert deliverer.message_id(replace(MAIL, key="k2")) != again
    assert "k1" not in again


@pytest.mark.parametrize("fault", ["lost_answer", "timeout_after_commit"])
def test_a_mail_that_was_taken_without_an_answer_is_an_open_question(house: House, fault: str) -> None:
    house.strike(fault)
    with pytest.raises(Unconfirmed) as unknown:
        house.smtp().deliverer().deliver(MAIL)
    assert not isinstance(unknown.value, TransientError), "what retries everything transient must not retry this"
    assert (unknown.value.key, unknown.value.sent_at) == ("k1", NOW)
    assert len(house.ledger()) == 1
    with pytest.raises(Unconfirmable, match="Message-ID"):
        house.smtp().deliverer().find(MAIL, since=NOW)


@pytest.mark.parametrize("fault", ["timeout", "reset", "429", "500"])
def test_what_breaks_before_the_last_dot_is_surely_not_sent_and_may_be_tried_again(house: House, fault: str) -> None:
    house.strike(fault)
    with pytest.raises(RateLimited if fault == "429" else ProviderDown):
        house.smtp().deliverer().deliver(MAIL)
    assert house.ledger() == []
    house.smtp().deliverer().deliver(MAIL)
    assert len(house.ledger()) == 1


def test_a_server_that_is_slow_after_its_word_does_not_take_a_mail_it_was_not_given(house: House) -> None:
    house.strike("slow")
    with pytest.raises(ProviderDown):
        house.smtp().deliverer().deliver(MAIL)
    time.sleep(3 * QUICK)
    assert house.ledger() == []


def test_a_host_that_cannot_be_reached_has_surely_sent_nothing(house: House) -> None:
    with pytest.raises(ProviderDown, match="cannot be reached"):
        house.smtp(port=1).deliverer().deliver(MAIL)


def test_a_goodbye_that_fails_does_not_undo_a_delivery(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def quits(_: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr("smtplib.SMTP.quit", quits)
    assert isinstance(house.smtp().deliverer().deliver(MAIL), Receipt)


# ---- what is sent ----


def test_a_preview_shows_what_is_then_sent(house: House) -> None:
    diff = house.smtp().deliverer().preview(MAIL)
    assert house.ledger() == []
    house.smtp().deliverer().deliver(MAIL)
    (taken,) = house.ledger()
    for change in diff.changes:
        arrived = taken["headers"].get(change.field) or taken["parts"].get(change.field)
        assert (change.after or "").split() == arrived.split(), change.field
    assert {"From", "To", "Subject", "Message-ID", "List-Unsubscribe", "text/plain", "text/html"} <= {
        change.field for change in diff.changes
    }


def test_what_the_text_already_says_is_not_said_twice(house: House) -> None:
    said = f"Hello\n\n{MAIL.postal_address}\n{UNSUBSCRIBE}\n"
    diff = house.smtp().deliverer().preview(replace(MAIL, text=said, html=""))
    text = next(change.after for change in diff.changes if change.field == "text/plain")
    assert text == said


# ---- what is refused ----


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Hi\r\nBcc: all@world.example"},
        {"subject": "Hi\nX: y"},
        {"subject": "Hi\u2028X: y"},
        {"subject": "Hi\x0bX: y"},
        {"sender_name": "Dana\r\nBcc: all@world.example"},
        {"to": "ana@home.example\r\nBcc: all@world.example"},
        {"to": "ana@home.example, bob@home.example"},
        {"to": "ana@home.example>\r\nRCPT TO:<bob@home.example"},
        {"reply_to": "dana@ridgeline.example\nBcc: all@world.example"},
        {"sender": "dana@ridgeline.example\nBcc: all@world.example"},
        {"unsubscribe_url": "https://leads.example/u>\r\nBcc: all@world.example"},
        {"unsubscribe_url": "http://leads.example/u"},
    ],
)
def test_nothing_can_be_smuggled_into_a_header_or_a_command(house: House, change: Any) -> None:
    with pytest.raises(Undeliverable):
        house.smtp().deliverer().deliver(replace(MAIL, **change))
    assert house.ledger() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"to": "nobody@home.example"}, "bad_address"),
        ({"to": "not an address"}, "bad_address"),
        ({"to": "full@home.example"}, "unreachable"),
        ({"to": "blocked@home.example"}, "blocked"),
        ({"sender": "office@elsewhere.example"}, "sender"),
        ({"subject": "Win! [spam]"}, "filtered"),
        ({"text": " "}, "content"),
    ],
)
def test_a_refusal_says_whose_problem_it_is(house: House, change: Any, reason: str) -> None:
    with pytest.raises(Undeliverable) as refused:
        house.smtp().deliverer().deliver(replace(MAIL, **change))
    assert refused.value.reason == reason
    assert house.ledger() == []


def test_greylisting_is_for_later_and_no_open_question(house: House) -> None:
    with pytest.raises(ProviderDown, match=r"450 4\.2\.0"):
        house.smtp().deliverer().deliver(replace(MAIL, to="greylisted@home.example"))


def test_no_secret_and_nothing_personal_is_logged_or_printed(house: House, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(MAIL), repr(house.smtp().deliverer().preview(MAIL)), repr(house.smtp().options)]
    house.strike("lost_answer")
    for message in (MAIL, MAIL, replace(MAIL, to="nobody@home.example"), replace(MAIL, to="ana@home.example\n")):
        try:
            said.append(repr(house.smtp().deliverer().deliver(message)))
        except ConnectorError as error:
            said.append(f"{error} {error!r}")
    for hidden in ("ana@home", "nobody@", "Ana", "water heater", "4f4f4f", house.smtp().options.password.reveal()):
        assert hidden not in caplog.text + "".join(said), hidden


# ---- signing in, and what a person must do ----


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, of nobody the world trusts, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    day = dt.timedelta(days=1)
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_both_kinds_of_tls_carry_a_mail_and_strangers_certificates_do_not(
    house: House, certificate: tuple[Path, Path], security: str
) -> None:
    house.sandbox.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    house.sandbox.tls.load_cert_chain(*certificate)
    house.sandbox.tls_at_once = security == "tls"
    trusted = house.smtp(host="localhost", security=security, ca_file=str(certificate[0]))
    assert trusted.check().ok
    trusted.deliverer().deliver(MAIL)
    assert len(house.ledger()) == 1
    stranger = house.smtp(host="localhost", security=security).check()
    assert not stranger.ok
    assert "certificate is not trusted" in stranger.message
    assert not house.smtp(host="127.0.0.1", security=security, ca_file=str(certificate[0])).check().ok, "another name"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"password": Secret("wrong")}, "refuses the username and password (535)"),
        ({"security": "starttls"}, "offers no STARTTLS"),
        ({"security": "tls"}, "does not speak TLS on this port"),
        ({"port": 1}, "cannot be reached"),
        ({"host": "mail.ridgeline.example"}, "would cross the network in the open"),
        ({"from_address": "office"}, "not an e-mail address"),
        ({"security": "starttls", "ca_file": "/nowhere.pem"}, "ca_file cannot be used"),
    ],
)
def test_check_says_what_a_person_must_do(house: House, options: Any, said: str) -> None:
    health = house.smtp(**options).check()
    assert not health.ok
    assert said in health.message
    assert health.fix


def test_check_signs_in_and_sends_nothing(house: House) -> None:
    health = house.smtp().check()
    assert health.ok
    assert "takes our login" in health.message
    assert "SPF" in health.message
    assert house.ledger() == []


def test_a_server_that_wants_a_login_and_gets_none_is_a_matter_of_credentials(house: House) -> None:
    with pytest.raises(ConnectorError, match="wants a login"):
        house.smtp(username="").deliverer().deliver(MAIL)


# ---- the sandbox's side ----


def test_faults_and_ledger_are_those_of_the_whole_sandbox(house: House) -> None:
    asked = {"kind": "lost_answer", "provider": "smtp"}
    assert httpx.post(f"{house.served.origin}/_sandbox/faults", json=asked).status_code == 200
    with pytest.raises(Unconfirmed):
        house.smtp().deliverer().deliver(MAIL)
    (entry,) = httpx.get(f"{house.served.origin}/_sandbox/ledger").json()
    assert (entry["provider"], entry["kind"]) == ("smtp", "email")
    assert entry["body"]["message_id"] == house.smtp().deliverer().message_id(MAIL)
