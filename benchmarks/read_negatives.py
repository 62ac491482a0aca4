"""Negatives of real language to read: are they English, plausible, and false of the photo?

The captions of photos are cut into phrases as the regions stage does it, the positives of FG-OVD
are added, and negatives are made as the two stages make them, with every value of the lexicon as
candidate and the other phrases of the photo as its other regions. Prints a line for each of those
that are drawn (photo, kind of change, positive, negative), then one line of JSON: of how many.
Judging them is up to the reader.

Example:
    python benchmarks/read_negatives.py --items coco_open.parquet --count 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from pathlib import Path

import pyarrow.parquet as pq

from datagen.dataset import CandidatesRow, Negative
from datagen.negatives.candidates import PhraseItem
from datagen.negatives.in_memory import candidates, phrases_of, select
from datagen.negatives.lexicon import Lexicon, load_lexicon
from datagen.negatives.selection import SelectConfig, head, slots_of
from datagen.negatives.verify import AnotherRegion, Neighbour, Question, believed, judged
from datagen.regions.phrases import PhraseChunker

BOX = (0.0, 0.0, 1.0, 1.0)


def phrases(path: Path) -> list[PhraseItem]:
    """The different phrases of each photo."""
    table = pq.read_table(path, columns=["file_name", "captions", "fgovd"]).to_pylist()
    chunker = PhraseChunker()
    items: list[PhraseItem] = []
    for row in table:
        chunks = [phrase.text for found in chunker.chunk(row["captions"]) for phrase in found]
        texts = dict.fromkeys([*chunks, *(item["positive"] for item in row["fgovd"])])
        items += phrases_of(row["file_name"], list(texts))
    return items


def neighbours(row: CandidatesRow, rows: list[CandidatesRow]) -> tuple[Neighbour, ...]:
    """The other phrases of its photo."""
    return tuple(
        Neighbour(other.positive, tuple(slots_of(other)), head(other))
        for other in rows
        if other.image_id == row.image_id and other is not row
    )


async def kept(rows: list[CandidatesRow], lexicon: Lexicon) -> list[tuple[CandidatesRow, Negative]]:
    """What the negatives stage keeps without verifiers that look at pictures."""
    region = AnotherRegion(lexicon)
    found = []
    for row, negatives in zip(rows, select(rows, SelectConfig(), lexicon), strict=True):
        question = Question(
            image=None,
            box=BOX,
            positive=row.positive,
            negatives=tuple(negatives),
            slots=tuple(slots_of(row)),
            neighbours=neighbours(row, rows),
        )
        verified = await judged(question, [], region)
        found += [(row, negative) for negative in verified if believed(negative, 1)]
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--items", type=Path, required=True, help="`captions` and `fgovd` of photos"
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lexicon = load_lexicon()
    rows = asyncio.run(candidates(phrases(arguments.items), lexicon))
    found = asyncio.run(kept(rows, lexicon))
    drawn = random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
    for row, negative in sorted(drawn, key=lambda pair: (pair[0].image_id, pair[0].region_id)):
        print(row.image_id, negative.change, row.positive, negative.text, sep="\t")
    with_negatives = {row.region_id for row, _ in found}
    result = {
        "drawn": len(drawn),
        "of": len(found),
        "phrases": len(rows),
        "with_candidates": sum(bool(row.candidates) for row in rows),
        "with_negatives": len(with_negatives),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
