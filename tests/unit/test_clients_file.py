"""The clients file: everything that is wrong is told at once, in words for the person who wrote it; secrets stay out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Secret
from connectors.registry import CONNECTORS
from pipeline.clients import ClientsFileError, ConnectionConfig, load_clients
from pipeline.clients_template import TEMPLATE
from pipeline.options import build_options, options_print, secret_lookup
from pipeline.settings import Settings

Read = Callable[..., Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env(
        {"LEADTRAIL_HOME": str(tmp_path / "home"), "LEADTRAIL_CLIENTS_FILE": str(tmp_path / "clients.yaml")}
    )


@pytest.fixture
def mistakes_of(settings: Settings) -> Callable[[str], str]:
    def read(text: str) -> str:
        settings.clients_file.write_text(text)
        with pytest.raises(ClientsFileError) as caught:
            load_clients(settings)
        return str(caught.value)

    return read


def options(provider: str, raw: Mapping[str, Any], known: Mapping[str, str] = {}, **environ: str) -> list[Any]:
    config = ConnectionConfig("ridgeline", provider, raw, "dana")
    return build_options(config, Settings.from_env(environ), known.get)


def refusal(provider: str, raw: Mapping[str, Any], known: Mapping[str, str] = {}) -> str:
    with pytest.raises(ClientsFileError) as caught:
        options(provider, raw, known)
    return str(caught.value)


# ---- the file ----

GOOD = """
clients:
  - client_id: ridgeline
    name: Ridgeline Plumbing
    timezone: America/Chicago
    owner: dana@agency.example
    joined_on: 2026-02-01
    connections:
      twilio: {account_sid: AC1, auth_token: "${TOKEN}"}
      forms: {secret: "${FORM}"}
"""


def test_a_good_file_is_read(settings: Settings) -> None:
    settings.clients_file.write_text(GOOD)
    (client,) = load_clients(settings)
    assert (client.client_id, client.name, client.timezone, client.owner, client.joined_on) == (
        "ridgeline",
        "Ridgeline Plumbing",
        "America/Chicago",
        "dana@agency.example",
        "2026-02-01",
    )
    assert [connection.name for connection in client.connections] == ["ridgeline/twilio", "ridgeline/forms"]
    assert {connection.owner for connection in client.connections} == {"dana@agency.example"}


def test_the_template_is_a_good_file_and_every_provider_in_it_has_good_options(settings: Settings) -> None:
    everything = "\n".join(line.replace("# ", "", 1) if _is_option(line) else line for line in TEMPLATE.splitlines())
    settings.clients_file.write_text(everything)
    (client,) = load_clients(settings)
    assert len(client.connections) == len(CONNECTORS)
    for connection in client.connections:
        build_options(connection, settings, lambda name: f"value of {name}")
    settings.clients_file.write_text(TEMPLATE)
    assert [connection.provider for connection in load_clients(settings)[0].connections] == ["callrail"]


def _is_option(line: str) -> bool:
    return line.strip().startswith("# ") and ":" in line and line.startswith("      ") and "Leave out" not in line


def test_no_file_says_where_it_was_looked_for_and_how_to_make_one(settings: Settings) -> None:
    with pytest.raises(ClientsFileError, match="clients init") as caught:
        load_clients(settings)
    assert str(settings.clients_file) in str(caught.value)


def test_every_mistake_is_told_at_once(mistakes_of: Callable[[str], str]) -> None:
    told = mistakes_of("""
clients:
  - client_id: Ridge Line
    timezone: America/Nowhere
    color: blue
    joined_on: soon
    connections:
      callrial: {}
      forms: yes
      twilio:
  - client_id: ok
    timezone: America/Chicago
    owner: dana
  - client_id: ok
    timezone: America/Chicago
    owner: dana
    connections: [forms]
  - name: who?
  - just text
""")
    for mistake in (
        "has 12 mistake(s)",
        "client Ridge Line: client_id must be lower-case",
        "timezone 'America/Nowhere' is not known; write one like America/Chicago",
        "`color` is not a setting; known ones are client_id",
        "client Ridge Line: owner is missing",
        "joined_on is a day like 2026-02-01, not 'soon'",
        "no provider is called 'callrial'; there are callrail, hubspot",
        "forms needs its options under it",
        "twilio needs its options under it",
        "client ok: write its connections as `provider:`",
        "client number 4 has no client_id",
        "client number 5 has no client_id",
        "client_id ok is used twice",
    ):
        assert mistake in told


def test_a_client_cannot_be_called_what_the_house_is_called(mistakes_of: Callable[[str], str]) -> None:
    told = mistakes_of("clients: [{client_id: house, timezone: UTC, owner: dana}]")
    assert (
        "client house: 'house' is what Leadtrail calls the agency's own rules and templates; give this client another"
        in told
    )


def test_a_connection_that_stands_twice_is_a_mistake_not_the_last_one(mistakes_of: Callable[[str], str]) -> None:
    told = mistakes_of(GOOD + '      twilio: {account_sid: AC2, auth_token: "${OTHER}"}\n')
    assert "line 11" in told
    assert "twilio stands here for the second time" in told


@pytest.mark.parametrize("zone", ["", "America", "Chicago", "../../etc/passwd", "CST6"])
def test_a_bad_zone_is_refused(mistakes_of: Callable[[str], str], zone: str) -> None:
    assert f"timezone {zone!r} is not known" in mistakes_of(GOOD.replace("America/Chicago", f'"{zone}"'))


@pytest.mark.parametrize("text", ["", "[]", "clients: {}", "clients: 5", "leads: []"])
def test_a_file_of_another_shape_is_told_the_shape(mistakes_of: Callable[[str], str], text: str) -> None:
    assert "needs a list called `clients:`" in mistakes_of(text)


def test_broken_yaml_is_told_by_line_without_quoting_the_file(mistakes_of: Callable[[str], str]) -> None:
    told = mistakes_of('clients:\n  - client_id: a\n    api_key: "hunter2\n    x: [}\n')
    assert "line " in told
    assert "hunter2" not in told
    assert "tag:" in mistakes_of("clients: !!python/object/apply:os.system [true]")


# ---- options ----

CALLRAIL = {"account_id": "ACC1", "api_key": "${KEY}"}


def test_options_are_typed_and_secrets_looked_up() -> None:
    (built,) = options("callrail", {**CALLRAIL, "company_ids": ["COM1", 2]}, {"KEY": "k"})
    assert (built.account_id, built.api_key, built.company_ids) == ("ACC1", Secret("k"), ("COM1", "2"))
    assert options("callrail", {**CALLRAIL, "company_ids": "COM1"}, {"KEY": "k"})[0].company_ids == ("COM1",)
    assert "k" not in repr(built.api_key)


def test_every_mistake_of_a_connection_is_told_at_once() -> None:
    told = refusal("callrail", {"api_key": "${KEY}", "acount_id": "ACC1", "company_ids": [{}]})
    assert "`acount_id` is not an option of callrail; it takes account_id, api_key" in told
    assert "`account_id` is missing. Add it under callrail" in told
    assert "secret KEY was not found" in told
    assert "leadtrail secrets set KEY" in told
    assert "`company_ids` must be text" in told


@pytest.mark.parametrize("literal", ["hunter2", 5, "x${KEY}", ["hunter2"], {"a": "hunter2"}])
def test_a_secret_in_the_file_is_refused_and_not_repeated(literal: Any) -> None:
    told = refusal("callrail", {"account_id": "ACC1", "api_key": literal}, {"KEY": "k"})
    assert "`api_key` is a secret and may not stand in the file. Write ${SOME_NAME}" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("written", "meant"), [(True, True), (False, False), ("true", True), ("False", False), ("no", False)]
)
def test_false_in_quotes_is_false(written: Any, meant: bool) -> None:
    assert options("angi", {"test_mode": written})[0].test_mode is meant


@pytest.mark.parametrize("written", [0, 1, "", "maybe", [], {}, 2.5])
def test_what_is_neither_true_nor_false_is_refused(written: Any) -> None:
    assert f"`test_mode` is true or false, not {written!r}" in refusal("angi", {"test_mode": written})


@pytest.mark.parametrize(("written", "meant"), [(7, 7), ("7", 7), (-1, -1)])
def test_whole_numbers(written: Any, meant: int) -> None:
    raw = {"site_urls": ["sc-domain:a.example"], "history_days": written}
    assert options("search_console", raw)[0].history_days == meant


@pytest.mark.parametrize("written", [True, 7.5, "7.5", "seven", [7], "٧"])
def test_what_is_no_whole_number_is_refused(written: Any) -> None:
    raw = {"site_urls": ["sc-domain:a.example"], "history_days": written}
    assert f"`history_days` is a whole number, not {written!r}" in refusal("search_console", raw)


def test_ids_may_be_written_as_numbers_but_not_as_yaml_misreads_them() -> None:
    raw = {"realm_id": 1234567890, "client_id": "a", "client_secret": "${S}", "refresh_token": "${S}"}
    assert options("quickbooks", raw, {"S": "s"})[0].realm_id == "1234567890"
    for misread in (1e5, True, None, ["1"], {"1": "2"}):
        told = refusal("quickbooks", {**raw, "realm_id": misread}, {"S": "s"})
        assert "`realm_id` is missing" in told if misread is None else "`realm_id` must be text" in told


def test_a_closed_choice_and_a_table() -> None:
    assert options("angi", {"reply": "legacy"})[0].reply == "legacy"
    assert "`reply` is one of json, legacy, ads, not 'xml'" in refusal("angi", {"reply": "xml"})
    assert options("forms", {"field_map": {"phone": "Tel"}})[0].field_map == {"phone": "Tel"}
    assert "`field_map` is a table" in refusal("forms", {"field_map": ["phone"]})


def test_a_reference_that_is_not_set_is_a_mistake_wherever_it_stands() -> None:
    """It used to become the text "None"."""
    told = refusal("callrail", {**CALLRAIL, "account_id": "${ACCOUNT}"}, {"KEY": "k"})
    assert "secret ACCOUNT was not found" in told
    assert options("callrail", {**CALLRAIL, "account_id": "${A}"}, {"KEY": "k", "A": "ACC9"})[0].account_id == "ACC9"


def test_a_base_url_can_be_set_for_all_clients_but_what_a_client_says_wins() -> None:
    environ = {"LEADTRAIL_CALLRAIL_BASE_URL": "http://127.0.0.1:1/callrail"}
    assert options("callrail", CALLRAIL, {"KEY": "k"}, **environ)[0].base_url == "http://127.0.0.1:1/callrail"
    own = {**CALLRAIL, "base_url": "http://own.example"}
    assert options("callrail", own, {"KEY": "k"}, **environ)[0].base_url == "http://own.example"
    assert options("callrail", CALLRAIL, {"KEY": "k"})[0].base_url == "https://api.callrail.com"


def test_while_secrets_are_replaced_every_combination_is_good_and_the_new_ones_come_first() -> None:
    raw = {"webhook_user": "u", "webhook_password": ["${NEW}", "${OLD}"], "path_token": ["${P2}", "${P1}"]}
    known = {"NEW": "new", "OLD": "old", "P1": "p1", "P2": "p2"}
    built = options("thumbtack", raw, known)
    assert [(one.webhook_password.reveal(), one.path_token.reveal()) for one in built] == [
        ("new", "p2"),
        ("new", "p1"),
        ("old", "p2"),
        ("old", "p1"),
    ]
    assert "secret OLD was not found" in refusal("thumbtack", raw, {**known, "OLD": ""})
    assert "is a secret and may not stand in the file" in refusal("thumbtack", {**raw, "path_token": []}, known)


def test_the_print_of_a_connection_changes_with_a_secret_and_reveals_none() -> None:
    config = ConnectionConfig("ridgeline", "callrail", CALLRAIL, "dana")
    prints = {
        options_print(config, build_options(config, Settings.from_env({}), {"KEY": key}.get)[0])
        for key in ("one", "two", "one")
    }
    assert len(prints) == 2
    assert not any("one" in each or "two" in each for each in prints)


# ---- where secrets come from ----


def test_the_environment_goes_before_the_secrets_file_and_that_before_the_store(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    file.touch(0o600)
    file.write_text('# comment=x\n\nA=file\nB=file\nC=\nD=a=b \nE="two\\nlines \\" "\nF=\'kept\'\nnot a line\n')
    settings = Settings.from_env({"LEADTRAIL_SECRETS_FILE": str(file), "A": "environment"})
    found = secret_lookup(settings, {"A": "store", "B": "store", "C": "store"}.get)
    assert [found(name) for name in "ABCDEFG"] == [
        "environment",
        "file",
        "store",
        "a=b",
        'two\nlines " ',
        "'kept'",
        None,
    ]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secrets_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secrets.env"
    file.write_text("A=hunter2\n")
    file.chmod(mode)
    with pytest.raises(ClientsFileError, match="chmod 600") as caught:
        secret_lookup(Settings.from_env({"LEADTRAIL_SECRETS_FILE": str(file)}), {}.get)
    assert "hunter2" not in str(caught.value)


def test_a_secrets_file_that_is_missing_or_broken_is_told(tmp_path: Path) -> None:
    file = tmp_path / "secrets.env"
    settings = Settings.from_env({"LEADTRAIL_SECRETS_FILE": str(file)})
    with pytest.raises(ClientsFileError, match="does not exist"):
        secret_lookup(settings, {}.get)
    file.touch(0o600)
    file.write_text('A=x\nB="hunter2\n')
    with pytest.raises(ClientsFileError, match="line 2: the quoted value of B") as caught:
        secret_lookup(settings, {}.get)
    assert "hunter2" not in str(caught.value)


# ---- follow-up ----


def test_what_a_client_set_for_follow_up_is_read(settings: Settings) -> None:
    settings.clients_file.write_text(
        GOOD.replace(
            "    connections:",
            "    follow_up: {texting: approved, backup_owner: lee@ridge.example, holidays: [2026-12-24]}\n    connections:",
        )
    )
    (client,) = load_clients(settings)
    assert client.follow_up.texting == "approved"
    assert client.follow_up.holidays == ("2026-12-24",)
    assert client.follow_up.owner("backup", client_owner=client.owner) == "lee@ridge.example"
    assert client.follow_up.owner("agency", client_owner=client.owner) == client.owner


def test_without_settings_for_follow_up_nothing_can_be_texted(settings: Settings) -> None:
    settings.clients_file.write_text(GOOD)
    (client,) = load_clients(settings)
    assert client.follow_up.texting == "unknown"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{texting: yes}", "follow_up.texting must be text"),
        ("{texting: sure}", "follow_up.texting is one of unknown, pending, approved"),
        ("{messages_in_24_hours: 4}", "follow_up.messages_in_24_hours is a whole number between 1 and 3"),
        ("{backup_owner: lee}", "follow_up.backup_owner is the e-mail address of a person"),
        ("{promotional_hours: 9-18}", "follow_up.promotional_hours is written like 09:00-18:00"),
        ("{booking_link: http://x.example}", "follow_up.booking_link is a link that begins with https://"),
        ("{holidays: [someday]}", "follow_up.holidays is a list of days"),
        ("{text: approved}", "follow_up has no setting `text`"),
        ("approved", "write its settings as `name: value` lines"),
    ],
)
def test_a_mistake_in_the_settings_for_follow_up_is_told(
    mistakes_of: Callable[[str], str], written: str, said: str
) -> None:
    assert said in mistakes_of(GOOD.replace("    connections:", f"    follow_up: {written}\n    connections:"))
