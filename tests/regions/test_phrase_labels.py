"""Precision and recall of the chunker on sentences labelled by hand (phrase_labels.txt)."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from datagen.regions.phrases import PhraseChunker

FILE = Path(__file__).with_name("phrase_labels.txt")
BAR = 0.9


@dataclass(frozen=True)
class Labelled:
    text: str
    spans: frozenset[tuple[int, int]]

    @property
    def held_out(self) -> bool:
        """Whether it is of the half that nobody looked at while the rules were tuned."""
        return int(hashlib.sha256(self.text.encode()).hexdigest(), 16) % 2 == 1


def read_labels():
    found = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("- "):
            found[-1][1].append(line[2:])
        else:
            found.append((line, []))
    return [Labelled(text, frozenset(_spans(text, phrases))) for text, phrases in found]


def _spans(text, phrases):
    """Phrases stand in reading order, an expression before its parts."""
    after, seen = 0, set()
    for phrase in phrases:
        for match in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", text):
            if match.start() >= after and match.span() not in seen:
                break
        else:
            raise ValueError(f"{phrase!r} is not in {text!r} after character {after}.")
        after = match.start()
        seen.add(match.span())
        yield match.span()


@pytest.fixture(scope="module")
def found():
    labelled = read_labels()
    answers = PhraseChunker().chunk([sentence.text for sentence in labelled])
    return [
        (sentence, {(p.span_start, p.span_end) for p in phrases})
        for sentence, phrases in zip(labelled, answers, strict=True)
    ]


def test_there_are_enough_labels():
    labelled = read_labels()
    assert len({sentence.text for sentence in labelled}) == len(labelled) >= 150
    assert sum(sentence.held_out for sentence in labelled) >= 75


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held out"])
def test_precision_and_recall_on_exact_spans(found, held_out):
    half = [(sentence, got) for sentence, got in found if sentence.held_out == held_out]
    right = sum(len(sentence.spans & got) for sentence, got in half)
    precision = right / sum(len(got) for _, got in half)
    recall = right / sum(len(sentence.spans) for sentence, _ in half)
    print(f"precision {precision:.3f}, recall {recall:.3f} on {len(half)} sentences")
    assert precision >= BAR
    assert recall >= BAR
