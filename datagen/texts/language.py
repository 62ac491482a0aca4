"""Is a caption in the language that was asked for? By script, then by function words.

No model: captions are long enough for their little words to tell, and a caption that has none
("Red car, blue truck") passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

LANGUAGES = ("en", "zh")
"""The languages that can be asked for."""

FOREIGN_SHARE = 0.3
"""Share of letters of another script, 0..1, from which on a caption is in another language. Names
and words on signs stay below it."""

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|「[^」]*」|『[^』]*』|《[^》]*》|«[^»]*»")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_WORD = re.compile(r"[^\W\d_]+")

# Words that hardly any caption does without; those that several languages share are left out.
_FUNCTION_WORDS = {
    "en": "the of and with is are an there to its his her on from at that by for this near under",
    "de": "der die das und ein eine einen einem einer mit ist sind auf im den dem neben vor hinter",
    "fr": "le la les des et une un avec est sont sur dans du au aux près derrière devant en qui",
    "es": "el los las y una un con es está están en del al sobre junto su por que una lado",
    "it": "il lo gli e una un con è sono su nel nella del della al accanto di che sul si",
    "pt": "o os as e uma um com é está estão em no na do da ao sobre seu que num",
    "nl": "de het een en met is zijn op van naast achter voor die aan bij",
    "pl": "i w na z jest są się do obok za przed który która",
    "tr": "ve bir ile bu üzerinde yanında var olan",
    "id": "dan yang di dengan sebuah seorang pada dari ini ada",
    "vi": "và một có trên với của là những đang bên",
}
_SETS = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}


def unquoted(text: str) -> str:
    """The text without what stands in quotation marks: words on signs are in any language."""
    return _QUOTED.sub(" ", text)


def is_in(text: str, language: str) -> bool:
    """Whether a caption is in the language, "en" or "zh"; a text without letters passes.

    Raises:
        ValueError: another language is asked for.
    """
    if language not in LANGUAGES:
        raise ValueError(f"Captions can be checked for {LANGUAGES}, not {language!r}.")
    said = unquoted(text)
    scripts = _scripts(said)
    letters = scripts.total()
    if not letters:
        return True
    own = "HAN" if language == "zh" else "LATIN"
    # A Han character says as much as several Latin letters.
    foreign = sum(n * (3 if s == "HAN" else 1) for s, n in scripts.items() if s != own)
    weighted = scripts[own] * (3 if own == "HAN" else 1)
    if foreign > FOREIGN_SHARE * (foreign + weighted):
        return False
    return language != "en" or _mostly_english(said)


def _scripts(text: str) -> Counter[str]:
    """Letters of each script: LATIN, HAN, CYRILLIC, HIRAGANA, …"""
    found = Counter({"LATIN": sum(map(str.isalpha, _NOT_ASCII.sub("", text)))})
    for character in _NOT_ASCII.findall(text):
        if character.isalpha():
            script = unicodedata.name(character, "UNKNOWN").split()[0]
            found["HAN" if script == "CJK" else script] += 1
    return found


def _mostly_english(text: str) -> bool:
    words = Counter(_WORD.findall(text.lower()))
    counts = {
        language: sum(words[word] for word in known & words.keys())
        for language, known in _SETS.items()
    }
    english = counts.pop("en") + words["a"] + words["in"]
    return english >= max(counts.values())
