"""Which replies opt a person out, which only pause them, and which merely use the same words."""

from __future__ import annotations

from time import perf_counter

import pytest

from pipeline.follow_up.opt_out_words import read

OPTS_OUT = [
    "STOP",
    "stop",
    " Stop!! ",
    "STOPALL",
    "stop all",
    "Unsubscribe.",
    "CANCEL",
    "End",
    "quit",
    "REVOKE",
    "optout",
    "OPT OUT",
    "opt-out",
    "Opt—Out",
    "ＳＴＯＰ",
    "𝗦𝗧𝗢𝗣",
    "s t o p",
    "S.T.O.P.",
    '"STOP"',
    "🛑 stop 🛑",
    "stop please",
    "please stop",
    "STOP STOP STOP",
    "Please stop now",
    "Stop, thank you",
    "opt out please",
    "st\u200bop",
    "ALTO",
    "Pare por favor",
    "dar de baja",
    "STOP\n",
    "unsubscribe\n\nOn Mon, Nov 2, 2026 at 9:00 AM Ace Plumbing <a@ace.test> wrote:\n> hi",
]

ASKS_US_TO_STOP = [
    "please stop texting me",
    "Stop texting me!",
    "don't text me again",
    "Don’t text me anymore",
    "do not contact me",
    "wrong number",
    "Sorry, you have the wrong number",
    "take me off your list",
    "remove me from your contact list",
    "Remove me",
    "delete my number from your system",
    "stop sending me messages",
    "STOP MESSAGING",
    "no more texts please",
    "quit calling me",
    "cease all communications",
    "I don't want any more texts",
    "I no longer wish to receive messages",
    "I do not want to be contacted",
    "how do I unsubscribe",
    "unsubscribe me",
    "I'd like to opt out of this",
    "I revoke my consent",
    "leave me alone",
    "lose my number",
    "not interested",
    "No thanks, not interested",
    "Stop. I already hired someone",
    "I'm good thanks. Stop",
    "this is harassment",
    "stop all texts",
    "please cancel",
    "cancel please",
    "never text this number again",
    "no me mande más mensajes",
    "deje de enviarme mensajes",
    "Número equivocado",
    "no quiero recibir mensajes",
    "no más mensajes",
    "quíteme de la lista",
    "quiero darme de baja",
    "stop blowing up my phone",
    "you've got the wrong person",
    "Can you please not text me anymore",
    "Dont call me again",
    "Who is this? stop texting",
    "no stop",
    "please don't message me again",
    "I asked you to stop calling",
    "stop emailing",
    "stop sending me these",
    "Please do not call or text me again",
    "never call me again",
    "don't text me at this number",
    "STOP SENDING",
    "Stop\nI found another plumber",
    "dont want any more calls",
    "do not text this number",
]

ABOUT_THE_JOB = [
    "can you stop by tomorrow?",
    "stop the leak",
    "please stop the leak",
    "cancel my appointment Tuesday",
    "Can I cancel and rebook?",
    "end of the week works",
    "I quit my job",
    "yes please",
    "Yes, 3pm works",
    "start on Monday",
    "help my basement is flooding",
    "I need help",
    "info on pricing please",
    "make it stop leaking",
    "please make it stop",
    "does the water stop at the street?",
    "there is a bus stop in front",
    "please stop by at 5",
    "Please don't call before 9",
    "don't have your number, text me",
    "I don't have a text from you",
    "I gave the wrong number of windows",
    "take me off the schedule Tuesday",
    "no need to call me back, I found someone",
    "call me",
    "text me anytime",
    "the drain will not stop running",
    "Who is this?",
    "ok thanks",
    "👍",
    "",
    "no",
    "para el martes está bien",
    "la llave no para",
    "pare? no",
    "I can't stop it, water everywhere",
    "My wife told me to call again",
    "Not interested in the gold package but the basic one is fine",
    "you can email me",
    "don't forget to call me",
    "stop in when you get a chance",
    "I have no more questions",
    "Can you send someone",
    "when does the sale end",
    "please remove the old water heater",
    "could you remove my name tag from the door and call",
    "I opted for the basic one",
    "Didn't get your text",
    "I want to cancel the quote",
    "I'd like to end the contract in May",
    "nonstop",
    "STOPPED leaking, thanks",
    "no, stop by later",
    "Yes start",
    "Don't stop",
    "non-stop noise",
    "Stop at 5",
    "Please cancel Tuesday and call me",
    "You guys never called me back",
    "you did not call me",
    "He didn't text me the address",
    "don't send me a bill yet",
    "please don't call me before 9",
    "don't text me until Monday",
    "Don't call me on Sunday",
    "you don't need to call me back, I found someone",
    "I don't want to call again about this leak",
    "the stop sign by our house",
    "Liked “Reply STOP to opt out”",
    'Loved "Hi from Ace. Reply STOP to opt out."',
    "Sounds good!\n\nOn Mon, Nov 2, 2026 at 9:00 AM Ace Plumbing <a@ace.test> wrote:\n> Unsubscribe here\n",
    "Tuesday works\n> Reply STOP to opt out\n",
    "I want to stop the service call fee",
    "can I call you back",
    "no more leaks, thanks!",
    "We don't get calls here, please email",
]


@pytest.mark.parametrize("text", OPTS_OUT)
def test_a_stop_word_alone_opts_out_however_it_is_written(text: str) -> None:
    assert read(text).meaning == "opt_out"


@pytest.mark.parametrize("text", ASKS_US_TO_STOP)
def test_words_a_reasonable_person_would_take_as_stop_pause_and_ask_the_owner(text: str) -> None:
    assert read(text).meaning == "likely_revocation"


@pytest.mark.parametrize("text", ABOUT_THE_JOB)
def test_the_same_words_about_the_job_mean_nothing(text: str) -> None:
    assert read(text).meaning == "none"


@pytest.mark.parametrize("word", ["stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe"])
@pytest.mark.parametrize("shape", ["{}", "{}.", " {}\n", "“{}”", "{}!!!", "({})", "🛑{}"])
def test_the_seven_words_of_the_fcc_opt_out_in_any_case_and_punctuation(word: str, shape: str) -> None:
    for written in (word, word.upper(), word.title()):
        assert read(shape.format(written)).meaning == "opt_out"


@pytest.mark.parametrize("text", ["START", "start.", "Unstop", "YES", "yes!"])
def test_a_start_word_alone_opts_in_again(text: str) -> None:
    assert read(text).meaning == "opt_in"


@pytest.mark.parametrize("text", ["HELP", "help?", "Info", "AYUDA"])
def test_a_help_word_alone_asks_for_help(text: str) -> None:
    assert read(text).meaning == "help"


def test_what_the_provider_already_acted_on_counts_whatever_the_words() -> None:
    assert read("arrêt", provider_says="STOP").meaning == "opt_out"
    assert read("back please", provider_says="START").meaning == "opt_in"
    assert read("?", provider_says="HELP").meaning == "help"


@pytest.mark.parametrize(
    "filler", ["do not want to be any more ", "please stop all these your my ", "> ", "stop\n", "no "]
)
def test_a_long_message_is_read_in_well_under_a_second(filler: str) -> None:
    started = perf_counter()
    read(filler * 10_000)
    assert perf_counter() - started < 1


def test_the_reading_quotes_the_words_it_went_by() -> None:
    assert read("Hi, please stop texting me about this").because == "it says “stop texting”"
