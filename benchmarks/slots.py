"""Do the slots hold the words that FG-OVD changes? Both halves of the images, tuned and held out.

The words in which a positive and its negatives differ show which words are attributes; a word
counts if it lies inside a slot whose kind is that of the new word in FG-OVD's own vocabulary.

Example:
    python benchmarks/slots.py --items coco_open.parquet
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.slots import Slot, SlotFinder

# The attributes of PACO, from which FG-OVD makes its negatives, by their kinds.
KINDS = {
    "colour": "black blue brown green grey orange pink purple red white yellow",
    "shade": "light dark",
    "pattern": "plain striped dotted checkered woven studded perforated floral logo text",
    "material": "stone wood wooden rattan fabric crochet wool leather velvet metal paper plastic "
    "glass ceramic text",
    "transparency": "opaque translucent transparent",
}
LEVELS = ("hard", "medium", "easy")  # trivial negatives are other objects' phrases
_WORD = re.compile(r"[\w-]+")


def changed_words(positive: str, negative: str) -> Iterator[tuple[int, int, set[str]]]:
    """Character spans of the positive's words that the negative lacks, with their right kinds."""
    old = list(_WORD.finditer(positive))
    new = _WORD.findall(negative.lower())
    matcher = difflib.SequenceMatcher(None, [w.group().lower() for w in old], new, autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        put_in = set(new[new_start:new_end])
        kinds = {kind for kind, words in KINDS.items() if put_in.intersection(words.split())}
        if "colour" in kinds:
            kinds |= {"shade"}
        for word in old[start:end]:
            own = {k for k, words in KINDS.items() if word.group().lower() in words.split()}
            yield word.start(), word.end(), (own & kinds) or own or kinds


def inside(slots: list[Slot], start: int, end: int, kinds: set[str]) -> bool:
    """Whether a slot of one of the kinds holds the characters; a colour's slot holds its shade."""
    allowed = kinds | ({"colour"} if "shade" in kinds else set())
    return any(s.span_start <= start and end <= s.span_end and s.kind in allowed for s in slots)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=Path, required=True, help="Parquet file with `fgovd`")
    parser.add_argument("--show", action="store_true", help="print the words of the tuned half")
    arguments = parser.parse_args()
    finder = SlotFinder(load_lexicon())
    right, total, missed = Counter[str](), Counter[str](), Counter[str]()
    for row in pq.read_table(arguments.items, columns=["file_name", "fgovd"]).to_pylist():
        half = "tuned" if hashlib.sha256(row["file_name"].encode()).digest()[0] % 2 else "held_out"
        for item in row["fgovd"]:
            if item["level"] not in LEVELS:
                continue
            (slots,) = finder.find([item["positive"]])
            for negative in item["negatives"]:
                for start, end, kinds in changed_words(item["positive"], negative):
                    total[half] += 1
                    if inside(slots, start, end, kinds):
                        right[half] += 1
                    elif half == "tuned":
                        missed[f"{item['positive'][start:end]} {kinds} in {item['positive']}"] += 1
    if arguments.show:
        for text, count in missed.most_common():
            print(count, text)
    result = {f"words_in_slots_{half}": round(right[half] / total[half], 4) for half in total}
    print(json.dumps(result | {f"words_{half}": total[half] for half in total}))


if __name__ == "__main__":
    main()
