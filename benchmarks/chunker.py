"""Sentences a second of the phrase chunker: in batches, and in calls of one sentence each.

The last line printed is JSON: `sentences_per_second`, `one_by_one` (the same for calls of one
sentence) and `ratio`. Seconds are those of the processor, since one thread does the work: what
else the machine does hardly changes them. Each rate is the best of some rounds.

Example:
    OMP_NUM_THREADS=1 python benchmarks/chunker.py
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from datagen.language import DEFAULT_MODEL
from datagen.regions.phrases import PhraseChunker

LABELLED = Path(__file__).parents[1] / "tests" / "regions" / "phrase_labels.txt"


def read_sentences(file: Path) -> list[str]:
    """Lines of a file of text; comments (#) and labels (- ) of the labelled set are skipped."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith(("#", "- "))]


def best_rate(run: Callable[[], Iterable[object]], rounds: int) -> float:
    """Results a second of processor time in the best round."""
    rates = []
    for _ in range(rounds):
        start = time.process_time()
        count = sum(1 for _ in run())
        rates.append(count / (time.process_time() - start))
    return max(rates)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, default=LABELLED, help="sentences, one a line")
    parser.add_argument("--spacy-model", default=DEFAULT_MODEL)
    parser.add_argument("--sentences", type=int, default=720, help="repeat the file to so many")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chunker = PhraseChunker(options.spacy_model)
    own = read_sentences(options.texts)
    texts = [own[i % len(own)] for i in range(options.sentences)]
    batched = best_rate(lambda: chunker.chunk(texts), options.rounds)
    single = best_rate(lambda: (chunker.chunk([text]) for text in texts), options.rounds)
    print(
        json.dumps(
            {
                "sentences": len(texts),
                "sentences_per_second": round(batched, 1),
                "one_by_one": round(single, 1),
                "ratio": round(batched / single, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
