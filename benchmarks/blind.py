"""Can a model without eyes tell positives from negatives? Balanced against chosen at random.

Two inputs: regions of the small world, drawn as unevenly as the real world is, and the positives of
FG-OVD as phrases. The candidates of both choices are the same. Prints what each input gives, then
the worse of the two as one line of JSON: `excess_…` is the top-1 of a text-only control minus
chance.

Example:
    python benchmarks/blind.py --items coco_open.parquet
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from datagen.dataset import CandidatesRow
from datagen.demo.language import phrase_of
from datagen.demo.world import make_scene
from datagen.engines.config import EngineConfig
from datagen.engines.open import open_engine
from datagen.engines.prompts import load_prompt
from datagen.evaluation.controls import text_only, text_only_embedding
from datagen.evaluation.items import RegionItem
from datagen.negatives.candidates import PhraseItem
from datagen.negatives.in_memory import candidates, phrases_of, select
from datagen.negatives.lexicon import DEFAULT_LEXICON, Lexicon, load_lexicon
from datagen.negatives.rewriter import SlotRewriter
from datagen.negatives.selection import SelectConfig
from datagen.text_embeddings import TextEmbedder

ROOT = Path(__file__).parents[1]
DEMO_LEXICON = ROOT / "datagen" / "demo" / "lexicon.yaml"
BOX = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Score:
    """Of one input and one way of choosing; excesses are shares 0..1.

    `pairwise_…`: how often the control prefers a positive to a single negative, 0.5 by chance.
    """

    excess_linear: float
    excess_embedding: float
    kept_regions: float
    negatives_per_region: float
    pairwise_linear: float
    pairwise_embedding: float
    regions: float
    chance: float


def small_world(regions: int) -> list[PhraseItem]:
    """The first regions of skewed scenes."""
    items: list[PhraseItem] = []
    index = 0
    while len(items) < regions:
        phrases = [phrase_of(o) for o in make_scene("evaluation", index, skewed=True).objects]
        items += phrases_of(f"scene-{index:05}", phrases)
        index += 1
    return items


def fgovd(path: Path) -> list[PhraseItem]:
    """The regions of FG-OVD's items, each once, with its positive."""
    items: list[PhraseItem] = []
    for row in pq.read_table(path, columns=["file_name", "fgovd"]).to_pylist():
        regions = {(tuple(i["bbox"]), i["positive"]): None for i in row["fgovd"]}
        items += phrases_of(row["file_name"], [positive for _, positive in regions])
    return items


def choose(
    rows: Sequence[CandidatesRow], config: SelectConfig, lexicon: Lexicon
) -> list[RegionItem]:
    """What the negatives stage chooses, for regions that have negatives."""
    return [
        RegionItem(
            image_id=row.image_id,
            box=BOX,
            positive=row.positive,
            negatives=tuple(negative.text for negative in negatives),
        )
        for row, negatives in zip(rows, select(rows, config, lexicon), strict=True)
        if negatives
    ]


def score(rows: Sequence[CandidatesRow], items: list[RegionItem], embedder: TextEmbedder) -> Score:
    """Both controls on what was chosen."""
    linear, embedding = text_only(items), text_only_embedding(items, embedder)
    chance = linear.chance or 0.0
    return Score(
        excess_linear=linear.value - chance,
        excess_embedding=embedding.value - chance,
        kept_regions=len(items) / len(rows),
        negatives_per_region=float(np.mean([len(item.negatives) for item in items])),
        pairwise_linear=linear.details["pairwise"],
        pairwise_embedding=embedding.details["pairwise"],
        regions=len(rows),
        chance=chance,
    )


def measure(
    name: str,
    rows: Sequence[CandidatesRow],
    config: SelectConfig,
    lexicon: Lexicon,
    embedder: TextEmbedder,
    seeds: int,
) -> tuple[Score, Score]:
    """Balanced and at random, each the mean of several draws."""
    means = []
    for balanced in (True, False):
        scores = []
        for seed in range(seeds):
            drawn = [replace(row, region_id=f"{seed}/{row.region_id}") for row in rows]
            items = choose(drawn, replace(config, balanced=balanced), lexicon)
            scores.append(score(drawn, items, embedder))
        fields = asdict(scores[0])
        mean = Score(**{f: float(np.mean([getattr(s, f) for s in scores])) for f in fields})
        means.append(mean)
        shown = {key: round(value, 4) for key, value in asdict(mean).items()}
        print(name, "balanced" if balanced else "at random", json.dumps(shown), flush=True)
    return means[0], means[1]


async def run(arguments: argparse.Namespace) -> None:
    """Measure both inputs."""
    embedder = TextEmbedder()
    config = SelectConfig()
    engine = None
    if arguments.model:
        engine = open_engine(EngineConfig(model=arguments.model, max_model_len=1024))
    measured = []
    demo, lexicon = load_lexicon(DEMO_LEXICON), load_lexicon(DEFAULT_LEXICON)
    rows = await candidates(small_world(arguments.regions), demo)  # so few values are not asked for
    measured.append(measure("small world", rows, config, demo, embedder, arguments.seeds))
    if arguments.items:
        prompt = load_prompt(ROOT / "prompts" / "negatives_slots.md")
        rewriter = SlotRewriter(engine, prompt, lexicon) if engine else None
        rows = await candidates(fgovd(arguments.items), lexicon, rewriter)
        seeds = arguments.seeds * 10  # few phrases: one draw says little
        measured.append(measure("FG-OVD", rows, config, lexicon, embedder, seeds))
    if engine:
        await engine.close()
    balanced, at_random = zip(*measured, strict=True)
    result = {
        "excess_linear": max(s.excess_linear for s in balanced),
        "excess_embedding": max(s.excess_embedding for s in balanced),
        "excess_unbalanced": max(max(s.excess_linear, s.excess_embedding) for s in at_random),
        "kept_regions": min(s.kept_regions for s in balanced),
        "negatives_per_region": min(s.negatives_per_region for s in balanced),
    }
    print(json.dumps({key: round(value, 4) for key, value in result.items()}))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=Path, help="Parquet file with a column `fgovd`")
    parser.add_argument("--regions", type=int, default=3000, help="of the small world")
    parser.add_argument("--model", help="LLM that proposes values; without one, every value")
    parser.add_argument("--seeds", type=int, default=1, help="draws that are averaged")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
