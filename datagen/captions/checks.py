"""Checks of a caption, each with a name. Flagged captions are kept and can be filtered in SQL."""

from __future__ import annotations

import re
from collections import Counter

BOILERPLATE = re.compile(
    r"\b(the|this) (image|picture|photo|photograph) (shows|depicts|features|captures)\b"
    r"|\bthe style of the (image|picture) is\b",
    re.IGNORECASE,
)
REFUSAL = re.compile(r"\b(I'm sorry|I cannot|I can't|as an AI)\b", re.IGNORECASE)
REPEATS = 4
"""A sentence-sized window of words that comes this often is a loop."""


def check_caption(text: str, finish_reason: str) -> list[str]:
    """Names of the checks that flag a caption; empty for a good one.

    `cut_off`: the token limit ended it. `repetition`: five words in a row come four times.
    `refusal`, `boilerplate`: it holds such a phrase.
    """
    flags: list[str] = []
    if finish_reason == "length":
        flags.append("cut_off")
    words = text.lower().split()
    windows = Counter(tuple(words[i : i + 5]) for i in range(len(words) - 4))
    if windows and max(windows.values()) >= REPEATS:
        flags.append("repetition")
    if REFUSAL.search(text):
        flags.append("refusal")
    if BOILERPLATE.search(text):
        flags.append("boilerplate")
    return flags
