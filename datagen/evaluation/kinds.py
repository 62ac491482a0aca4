"""Which attribute a negative changes, told from the words that differ, and how large a box is.

The words are FG-OVD's own attributes, which are PACO's (Ramanathan et al. 2023), and what people
commonly say for them. A negative that changes words of several kinds is "several", one whose words
are not listed is "other". Sizes are COCO's: small below 32², large above 96² pixels.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_WORDS = {
    "colour": "black blue brown green grey gray orange pink purple red white yellow beige golden "
    "gold silver maroon turquoise teal cream navy tan violet magenta cyan blonde dark light bright "
    "pale colored coloured multicolored",
    "material": "stone wood wooden rattan fabric crochet wool woolen leather velvet metal metallic "
    "steel iron paper cardboard plastic glass ceramic porcelain rubber cloth cotton denim silk "
    "marble concrete brick wicker bamboo foam clay fur",
    "pattern": "plain striped stripes stripe dotted dots checkered checked plaid woven studded "
    "perforated floral flowered logo text patterned spotted printed",
    "transparency": "opaque translucent transparent clear see-through",
    "size": "big large small tiny huge little tall short long wide narrow thick thin",
    "shape": "round square rectangular oval circular triangular flat curved straight",
}
_KIND = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_TOKEN = re.compile(r"[\w-]+")


def changed_kind(positive: str, negative: str) -> str:
    """Kind of the words that differ: one of the kinds above, "several", "other", or "none"."""
    ours, theirs = (_TOKEN.findall(text.lower()) for text in (positive, negative))
    found = set()
    for what, a, b, c, d in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if what != "equal":
            kinds = {_KIND[word] for word in (*ours[a:b], *theirs[c:d]) if word in _KIND}
            found |= kinds or {"other"}
    if not found:
        return "none"
    return found.pop() if len(found) == 1 else "several"


def box_size(area: float) -> str:
    """ "small", "medium" or "large" from an area in pixels."""
    return "small" if area < 32**2 else "medium" if area <= 96**2 else "large"
