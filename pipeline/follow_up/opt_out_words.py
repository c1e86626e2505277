"""What a reply says about our right to write: stop, start again, help, or words a reasonable person would read as "stop".

Only a whole message that is one of the stop words (with nothing but politeness around it) opts a person out by itself. Anything
longer that reads like a revocation pauses the person and asks the owner, since "stop by tomorrow" and "cancel my appointment
Tuesday" use the same words. CANCEL, END and QUIT count only alone: with more words they are usually about the job.

Opting in again lifts a suppression; it is not consent to anything promotional.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Meaning = Literal["opt_out", "opt_in", "help", "likely_revocation", "none"]


@dataclass(frozen=True)
class Reading:
    """What a message means, and the words that say so."""

    meaning: Meaning
    because: str


# The FCC's seven, Twilio's spellings of them, and the Spanish words people answer with.
_STOP = {"stop", "stopall", "unsubscribe", "revoke", "optout", "alto", "pare", "parar", "basta"}
_STOP_PHRASES = {"stop all", "opt out", "dar de baja", "darme de baja", "de baja"}
_STOP_ALONE = {"cancel", "end", "quit", "cancelar", "baja"}
_START = {"start", "unstop", "yes", "unstop all", "comenzar", "empezar"}
_HELP = {"help", "info", "ayuda"}
_POLITE = {"please", "pls", "plz", "now", "it", "thanks", "thank", "you", "ok", "okay", "all", "just"}
_POLITE |= {"por", "favor", "ya", "gracias"}

_CONTACT = r"(?:text|txt|message|messag|msg|contact|call|phone|phon|e ?mail|spam|bother|harass|bug)(?:ing)?"
_TEXTS = r"(?:texts?|txts?|messag\w*|msgs?|calls?|e ?mails?|spam|contact|communications?|sms|ads?|marketing|reminders?)"
_AT_ME = r"(?:me|us|this|my|here|again|any ?more|at this)"
_WISH = r"(?:please|ever|you to|you|want|wish|be|get|receive|any|more|further|keep|of|these|your|the|even|dare|like)"
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun|week)"
_AT_A_TIME = rf"(?: (?:back|again))?(?! (?:before|after|until|till|during|while|between|at \d|on {_DAY}))"
_DO_NOT = r"(?:dont|do not|never|no longer|(?:please|you|to) not)"

# Read on the plain form of the text: lower case, no accents, no punctuation, one space between words.
_REVOCATIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:stop|quit|cease) (?:(?:all|ever|with|your|these|any|sending|me|please|blowing up|up|my) )*{_CONTACT}\b",
        r"\b(?:stop|quit|cease) (?:sending|blowing up|hitting)\b(?: me| us| my| these| this|$)",
        rf"\b(?:stop|cease|no more) (?:(?:all|the|these|your|my|those|automated|of|promo\w*) )*{_TEXTS}\b",
        rf"\b{_DO_NOT} (?:{_WISH} )*(?:{_CONTACT} (?:or|and|nor) )*{_CONTACT} {_AT_ME}\b{_AT_A_TIME}",
        rf"\b{_DO_NOT} (?:wish|want|like)(?: to (?:receive|get|have|see))?(?: {_WISH})* {_TEXTS}\b",
        rf"\b{_DO_NOT} (?:want|wish|like)(?: you)? to (?:be )?(?:contacted|texted|called|messaged|emailed|hear from)\b",
        r"\bdo not contact\b",
        r"\bwrong (?:number|person|guy|phone)\b(?! (?:on|for|of|in)\b)",
        r"\byou(?: have| ve|ve| got)? (?:got |have )?the wrong (?:number|person|guy|phone|customer)\b",
        r"\b(?:take|remove|delete|drop|get|scratch) (?:me|us|my (?:number|name|info\w*|contact|phone)|this (?:number|phone))"
        r"(?: (?:\w+ )?(?:number|info))?(?: off| from| out)?(?: of)?(?: (?:your|the|this|that|all|any|ur))?"
        r"(?: \w+)? (?:lists?|database|system|records?|contacts?|files?)\b",
        r"^(?:please )?(?:remove|delete|erase) (?:me|us|my (?:number|info\w*)|this number)(?: please| now| immediately| asap)?$",
        r"^(?:please )?take me off(?: please| now)?$",
        r"\bunsubscribed?\b",
        r"\bopt(?:ing|ed)? (?:me |us )?out\b",
        r"\b(?:revok\w+|withdraw\w*) (?:\w+ )?consent\b",
        r"\bleave (?:me|us) alone\b",
        r"\b(?:lose|forget|block(?:ing|ed)?) (?:my|this|your) number\b",
        r"^(?:(?:no|hi|hello|sorry|thanks|thank you|im|we are|were|i am) )*not interested(?: thanks| thank you| anymore)*$",
        r"\b(?:fuck|piss|screw|bug|buzz) (?:off|you)\b",
        r"\b(?:harassment|harassing|tcpa|do not call list|dnc|no llamar)\b",
        r"\b(?:report(?:ing|ed)?|block(?:ing|ed)?) (?:you|this)(?: as)?(?: (?:spam|number|to the fcc|to fcc))?$",
        r"\bplease stop$",
        r"^(?:no|enough|ok|okay|just|pls|i said|will you|would you|can you|could you)(?: \w+)? stop$",
        r"^(?:please )?(?:cancel|end|quit)(?: please| now| it| all| this| everything)+$",
        r"^please (?:cancel|end|quit)$",
        # Spanish
        r"\bno (?:me |nos )?(?:mande[ns]?|envie[ns]?|escriba[ns]?|llame[ns]?|contacte[ns]?|moleste[ns]?|textee[ns]?)\b",
        r"\b(?:deje[ns]?|deja|pare[ns]?|para) de (?:mandar|enviar|escribir|llamar|contactar|molestar|textear)\w*",
        r"\bno (?:quiero|deseo) (?:recibir |mas |sus )*(?:mensajes|textos|llamadas|correos)\b",
        r"\bno mas (?:mensajes|textos|llamadas|correos)\b",
        r"\bnumero (?:equivocado|incorrecto)\b",
        r"\b(?:quitenme|quiteme|quitame|saquenme|saqueme|sacame|elimineme|borreme|borrame) de (?:la|su|tu|esta) lista\b",
        r"\b(?:quiero|deseo|quisiera) (?:darme|dar) de baja\b",
    )
)
# Read on the text as written, since punctuation and line ends say where a sentence stops.
_STOP_SENTENCE = re.compile(
    r"(?:^\W*stop\s*(?:[.!,;:…–—-]+|\n)\s*\w)|(?:[.!?,;\n…]\s*(?:please\s+)?stop\W*$)", re.IGNORECASE
)
# What mail programs and phones add around a quotation of our own message, which names STOP and unsubscribe itself.
_QUOTED_BELOW = re.compile(
    r"^(?:on .+ wrote:|el .+ escribió:|-+ ?original message ?-+|from: .+|_{8,})\s*$", re.IGNORECASE | re.MULTILINE
)
_QUOTED_LINE = re.compile(r"^\s*>.*$", re.MULTILINE)
_REACTION = re.compile(
    r"^\W*(?:liked|loved|disliked|laughed at|emphasized|questioned|reacted \S+ to)\s+[“\"].*[”\"]\s*$", re.I | re.S
)
_READ_AT_MOST = 20_000  # characters; a longer mail is not a reply to ours


def read(text: str, *, provider_says: str | None = None) -> Reading:
    """What this inbound message means. `provider_says` is Twilio's OptOutType, which has already acted on it."""
    told: dict[str, Meaning] = {"STOP": "opt_out", "START": "opt_in", "HELP": "help"}
    if provider_says and (meaning := told.get(provider_says.upper())):
        return Reading(meaning, f"the provider took it as {provider_says.upper()}")
    own = _own_words(text[:_READ_AT_MOST])
    words = _plain(own)
    if not words:
        return Reading("none", "no words")
    return _keyword(words) or _revocation(own, words) or Reading("none", "no word about our messages")


def _own_words(text: str) -> str:
    """Without quotations: what is left is theirs."""
    if _REACTION.match(text):
        return ""
    if quoted := _QUOTED_BELOW.search(text):
        text = text[: quoted.start()]
    return _QUOTED_LINE.sub("", text)


def _keyword(words: str) -> Reading | None:
    joined = words.replace(" ", "") if re.fullmatch(r"\w(?: \w)+", words) else words  # S T O P
    if joined in _STOP | _STOP_PHRASES | _STOP_ALONE:
        return Reading("opt_out", f"the whole message is {joined.upper()}")
    if joined in _START:
        return Reading("opt_in", f"the whole message is {joined.upper()}")
    if joined in _HELP:
        return Reading("help", f"the whole message is {joined.upper()}")
    for phrase in sorted(_STOP_PHRASES):
        joined = re.sub(rf"\b{phrase}\b", phrase.replace(" ", ""), joined)
    meant = [word for word in joined.split() if word not in _POLITE]
    stops = _STOP | {phrase.replace(" ", "") for phrase in _STOP_PHRASES}
    if meant and all(word in stops for word in meant):
        return Reading("opt_out", f"nothing but {meant[0].upper()} and politeness")
    return None


def _revocation(text: str, words: str) -> Reading | None:
    for pattern in _REVOCATIONS:
        if found := pattern.search(words):
            return Reading("likely_revocation", f"it says “{found.group(0)}”")
    if _STOP_SENTENCE.search(unicodedata.normalize("NFKC", text)):
        return Reading("likely_revocation", "“stop” is a sentence of its own")
    return None


def _plain(text: str) -> str:
    """Lower case, accents and punctuation gone, full-width and stylised letters made plain."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text)).casefold()
    kept = []
    for character in decomposed:
        category = unicodedata.category(character)
        if category[0] == "M" or category == "Cf" or character in "'’‘`´ʼ":
            continue  # accents, invisible characters and apostrophes join: don't is dont
        kept.append(character if category[0] in "LN" else " ")
    return " ".join("".join(kept).split())
