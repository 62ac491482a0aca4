"""Do verifiers tell true negatives from false ones? In the small world, where the truth is known.

One attribute of some positives is made wrong, as a captioner does it, so that some negatives are
true of their region. Negatives are chosen as the stage chooses them. Prints one line of JSON:
`true_before` and `true_kept` are shares of the negatives that are true of their region, without
verifiers and with them; `false_dropped` is the share of the false ones that is thrown away.

Example:
    python benchmarks/verify.py --regions 300
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from PIL import Image

from benchmarks.blind import DEMO_LEXICON, ROOT
from datagen.dataset import CandidatesRow
from datagen.demo.draw import encode_jpeg
from datagen.demo.language import phrase_of
from datagen.demo.score import said_objects
from datagen.demo.world import COLOURS, FINISHES, SIZES, SceneObject, make_scene
from datagen.negatives.candidates import PhraseItem
from datagen.negatives.in_memory import candidates, select
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.selection import SelectConfig, head, slots_of
from datagen.negatives.verify import (
    AnotherRegion,
    Neighbour,
    Question,
    Verifier,
    believed,
    judged,
)
from datagen.verification.detector import DetectorVerifierConfig
from datagen.verification.region_score import RegionScoreConfig

DETECTOR = ROOT / "datagen" / "demo" / "models" / "detector"
ATTRIBUTES = {"colour": COLOURS, "finish": FINISHES, "size": SIZES}


@dataclass(frozen=True)
class Region:
    """A true object, its picture, and what is said of it, perhaps wrongly."""

    item: PhraseItem
    truth: SceneObject
    image: Image.Image


def regions(count: int, wrong: float, chance: random.Random) -> list[Region]:
    """The first objects of scenes; of some, one attribute is said wrongly."""
    found: list[Region] = []
    index = 0
    while len(found) < count:
        scene = make_scene("evaluation", index)
        image = Image.open(BytesIO(encode_jpeg(scene))).convert("RGB")
        phrases = [phrase_of(_misread(o, wrong, chance)) for o in scene.objects]
        for number, truth in enumerate(scene.objects):
            others = tuple(phrases[:number] + phrases[number + 1 :])
            name = f"{index:05}/{number}"
            item = PhraseItem(name, f"{index:05}", phrases[number], others)
            found.append(Region(item, truth, image))
        index += 1
    return found


def _misread(thing: SceneObject, wrong: float, chance: random.Random) -> SceneObject:
    if chance.random() >= wrong:
        return thing
    name = chance.choice(list(ATTRIBUTES))
    other = chance.choice([v for v in ATTRIBUTES[name] if v != getattr(thing, name)])
    changed: dict[str, Any] = {name: other}
    return replace(thing, **changed)


def true_of(text: str, thing: SceneObject) -> bool:
    """Whether everything that a phrase says is so."""
    said = said_objects(text)
    return len(said) == 1 and said[0].kind == thing.kind and said[0].right(thing) == said[0].said()


async def run(arguments: argparse.Namespace) -> None:
    """Choose, ask, compare with the truth."""
    lexicon = load_lexicon(DEMO_LEXICON)
    found = regions(arguments.regions, arguments.wrong, random.Random(0))
    rows = await candidates([region.item for region in found], lexicon)
    chosen = select(rows, SelectConfig(), lexicon)
    verifiers: list[Verifier] = []
    if arguments.detector:
        config = DetectorVerifierConfig(model=arguments.detector, margin=arguments.margin)
        verifiers.append(await config.open())
    if arguments.model:
        verifiers.append(await RegionScoreConfig(model=arguments.model).open())
    by_image: dict[str, list[CandidatesRow]] = {}
    for row in rows:
        by_image.setdefault(row.image_id, []).append(row)
    questions = []
    for region, row, negatives in zip(found, rows, chosen, strict=True):
        near = [other for other in by_image[row.image_id] if other is not row]
        neighbours = [Neighbour(o.positive, tuple(slots_of(o)), head(o)) for o in near]
        questions.append(
            Question(
                image=region.image,
                box=region.truth.bbox,
                positive=row.positive,
                negatives=tuple(negatives),
                slots=tuple(slots_of(row)),
                neighbours=tuple(neighbours),
            )
        )
    started = time.monotonic()
    another = AnotherRegion(lexicon)
    answers = await asyncio.gather(*(judged(q, verifiers, another) for q in questions))
    seconds = time.monotonic() - started
    for verifier in verifiers:
        await verifier.close()
    tally: Counter[tuple[bool, bool]] = Counter()  # (true of its region, kept)
    for region, negatives in zip(found, answers, strict=True):
        for negative in negatives:
            tally[true_of(negative.text, region.truth), believed(negative, 1)] += 1
    total = tally.total()
    result = {
        "true_before": (tally[True, True] + tally[True, False]) / total,
        "true_kept": tally[True, True] / (tally[True, True] + tally[False, True]),
        "false_dropped": tally[False, False] / (tally[False, False] + tally[False, True]),
        "negatives": total,
        "negatives_per_second": total / seconds,
    }
    print(json.dumps({key: round(value, 4) for key, value in result.items()}))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=300)
    parser.add_argument("--wrong", type=float, default=0.1, help="share of misread positives")
    parser.add_argument("--detector", default=str(DETECTOR), help="a folder; empty for none")
    parser.add_argument("--margin", type=float, default=0.0, help="see DetectorVerifierConfig")
    parser.add_argument("--model", help="a trained model's folder, for region scores")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
