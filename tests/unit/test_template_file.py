"""Templates: a closed list of words, what the law asks for, and mistakes named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.follow_up.rule_file import RuleMistake
from pipeline.follow_up.template_file import TEXT_LENGTH, read_template, read_templates

TEXT = """\
---
template: missed-call
channel: text
class: conversational
---
Hi {{ given_name | default: "there" }}, this is {{ business }}.
Sorry we missed your call! {{ opt_out }}
"""
MAIL = """\
---
template: quote-reminder
channel: email
class: informational
subject: Your quote from {{ business }}
---
Hello {{ given_name }}, your quote of {{ amount }} holds until {{ valid_until }}.
{{ postal_address }} {{ unsubscribe_link }}
"""


def written(folder: Path, text: str, name: str = "t.liquid") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_template_is_filled_in_and_unknown_names_fall_back(tmp_path: Path) -> None:
    template = read_template(written(tmp_path, TEXT))
    _, body = template.render({"business": "Ridgeline", "opt_out": "Reply STOP to opt out."})
    assert body == "Hi there, this is Ridgeline.\nSorry we missed your call! Reply STOP to opt out."
    assert template.render({"given_name": "Ana"})[1].startswith("Hi Ana,")


def test_what_is_filled_in_is_never_run_as_a_template(tmp_path: Path) -> None:
    template = read_template(written(tmp_path, TEXT))
    _, body = template.render({"given_name": "{{ business }}{% for x in (1..9) %}", "business": "Ridgeline"})
    assert "Hi {{ business }}{% for x in (1..9) %}, this is Ridgeline." in body


def test_a_subject_is_one_line_whatever_is_filled_in(tmp_path: Path) -> None:
    subject, _ = read_template(written(tmp_path, MAIL)).render({"business": "Evil\r\nBcc: all@x.example"})
    assert subject == "Your quote from Evil Bcc: all@x.example"


def test_a_changed_word_is_another_version(tmp_path: Path) -> None:
    one = read_template(written(tmp_path, TEXT))
    other = read_template(written(tmp_path, TEXT.replace("Sorry", "So sorry")))
    assert one.version != other.version


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT.replace("{{ business }}", "{{ busines }}"), "6: {{ busines }} is not known"),
        (
            TEXT.replace("your call!", "your call! {{ timeline_link }}"),
            "7: {{ timeline_link }} is for people of ours only",
        ),
        (TEXT.replace(" {{ opt_out }}", ""), "6: a text names {{ opt_out }}"),
        (TEXT.replace("{{ business }}", "us"), "6: a text names {{ business }}"),
        (TEXT.replace("Sorry", "Sorry " * TEXT_LENGTH), "6: "),
        (TEXT.replace("class: conversational", "class: friendly"), "4: class: Input should be 'promotional'"),
        (TEXT.replace("channel: text", "chanel: text"), "3: chanel: is not known here; is it misspelled?"),
        (TEXT.replace("{{ given_name |", "{{ given_name | |"), "6: not Liquid"),
        (TEXT.replace("---\n", "", 1), "1: a template begins with its head"),
        (MAIL.replace("{{ unsubscribe_link }}", ""), "7: a mail names {{ unsubscribe_link }}"),
        (MAIL.replace("subject: Your quote from {{ business }}\n", ""), "1: a mail has a subject"),
    ],
)
def test_each_mistake_is_named_with_its_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RuleMistake) as caught:
        read_template(written(tmp_path, text))
    found = [line.partition("t.liquid:")[2] for line in str(caught.value).splitlines()]
    assert any(line.startswith(said) for line in found), found


def test_every_mistake_of_every_file_is_named_at_once(tmp_path: Path) -> None:
    written(tmp_path, TEXT.replace("{{ business }}", "us"), "a.liquid")
    written(tmp_path, MAIL.replace("{{ postal_address }}", ""), "b.liquid")
    with pytest.raises(RuleMistake) as caught:
        read_templates(tmp_path)
    assert {"a.liquid", "b.liquid"} == {
        line.rpartition("/")[2].split(":")[0] for line in str(caught.value).splitlines()
    }
