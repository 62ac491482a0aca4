"""Checks of a caption, each with a name. What can be mended is mended, the rest is asked again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from datagen.texts.language import is_in, unquoted
from datagen.texts.mend import mend

LOOPS = ((8, 3, 0), (5, 4, 25))
"""A loop: so many words in a row come so often, and at least once in so many words (0: any)."""
ECHO = 8
"""So many words of the prompt in a row are an echo of it; ten Chinese characters."""

_REFUSAL = re.compile(
    r"\b(?:i['’]m|i\s+am|we['’]re)\s+(?:sorry|unable|not\s+able|afraid)\b"
    r"|\bi\s+(?:apologi[sz]e|cannot|can\s*not|can['’]t|could\s+not|couldn['’]t|won['’]t|"
    r"don['’]t\s+(?:see|have)|do\s+not\s+(?:see|have))\b"
    r"|\b(?:as|being)\s+an?\s+(?:ai|artificial|language\s+model|text-based)\b"
    r"|^(?:sorry|unfortunately)\b"
    r"|\bno\s+(?:image|picture|photo)\s+(?:was|is|has\s+been)?\s*(?:provided|attached|uploaded)\b"
    r"|\bagainst\s+(?:my|our|the)\s+(?:guidelines|policy|policies)\b"
    r"|\bplease\s+(?:provide|upload|share|attach)\b"
    r"|抱歉|对不起|作为(?:一个|一名)?(?:人工智能|AI|语言模型)|我(?:无法|不能|没有办法)|无法(?:查看|识别|描述)",
    re.IGNORECASE,
)
_MARKERS = re.compile(
    r"<\|[^|>]*\|>|</?(?:image|img|s|bos|eos|unk)>|\[/?INST\]|<start_of_turn>|<end_of_turn>"
    r"|###\s*(?:instruction|response|input)|^\s*(?:user|assistant|human|system)\s*:"
    r"|\bASSISTANT:|\bUSER:",
    re.IGNORECASE,
)
_UNITS = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+(?:['’-][^\W_]+)*")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_NOTHING = frozenset(
    {"n a", "none", "null", "nothing", "unknown", "caption", "image", "description"}
)
_STUTTER = re.compile(r"(.{2,60}?)\1{5,}", re.DOTALL)
_SHORT_STUTTER = re.compile(r"(.{2,3}?)\1{5,}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as far as the checks need it.

    `prompt` is the text of the prompt without hints, `language` is "en" or "zh", `max_words` what
    a caption may have (a Chinese character counts as a word).
    """

    prompt: str
    language: str = "en"
    max_words: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A caption after the checks.

    `text` is mended; `mended` are the names of the checks that changed it (boilerplate, negated),
    `faults` those that no cut can mend: the caption must be asked for again.
    """

    text: str
    mended: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def checks(self) -> tuple[str, ...]:
        """Names of all checks that flagged the caption."""
        return (*self.mended, *self.faults)


def check_caption(text: str, finish_reason: str, asked: Asked) -> Checked:
    """Check a caption and cut out of it what does not belong there.

    The faults: `cut_off` (the token limit ended it), `empty`, `refusal`, `prompt_echo` (it repeats
    eight words of the prompt in a row, or marks of a chat template), `repetition` (see `LOOPS`, or
    a piece of text is repeated at once six times), `wrong_language`, `over_long`.
    """
    mended = mend(text)
    units, said = words(text), unquoted(text)
    tests = {
        "cut_off": finish_reason == "length",
        "empty": _is_empty(words(mended.text)),
        "refusal": _REFUSAL.search(said.strip()) is not None,
        "prompt_echo": _MARKERS.search(text) is not None or _echoes(units, asked.prompt),
        "repetition": _loops(said),
        "wrong_language": not is_in(text, asked.language),
        "over_long": asked.max_words is not None and len(units) > asked.max_words,
    }
    return Checked(mended.text, mended.checks, tuple(name for name, bad in tests.items() if bad))


def words(text: str) -> list[str]:
    """Words in lower case; each Chinese character is one."""
    return _UNITS.findall(text.lower())


def _is_empty(units: list[str]) -> bool:
    return not units or " ".join(units) in _NOTHING


def _echoes(units: list[str], prompt: str) -> bool:
    size, theirs = _windows_of(prompt)
    return any(window in theirs for window in _windows(units, size))


@lru_cache(maxsize=64)
def _windows_of(prompt: str) -> tuple[int, frozenset[tuple[str, ...]]]:
    """How many words in a row are an echo of the prompt, and which."""
    units = words(prompt)
    size = 10 if units and _HAN.match(units[0]) else ECHO
    return size, frozenset(_windows(units, size))


def _loops(said: str) -> bool:
    units = words(said)
    for size, times, once_in in LOOPS:
        most = max(Counter(_windows(units, size)).values(), default=0)
        if most >= times and (not once_in or most * once_in >= len(units)):
            return True
    return _stutters(said.lower())


def _stutters(said: str) -> bool:
    """Whether a piece of text that is more than marks is repeated at once, six times or more."""
    if not _may_stutter(said):
        return False
    return any(any(map(str.isalnum, match.group(1))) for match in _STUTTER.finditer(said))


def _may_stutter(said: str) -> bool:
    """False for nearly all captions, in a tenth of the time that `_STUTTER` takes.

    Where six pieces of p characters follow each other, twelve characters are found again p
    further on, as long as they lie within: four times or more, if p is at least four.
    """
    if _SHORT_STUTTER.search(said):
        return True
    twelves = Counter(said[i : i + 12] for i in range(len(said) - 11))
    return max(twelves.values(), default=0) >= 4


def _windows(units: list[str], size: int) -> Iterator[tuple[str, ...]]:
    """All runs of `size` words."""
    return zip(*(units[start:] for start in range(size)), strict=False)
