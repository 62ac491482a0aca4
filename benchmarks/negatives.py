"""What a negative costs: the slot rewriter against the free one, same engine, same phrases.

Tokens are prompt plus output of all requests, counted for each negative that the checks accept; a
ratio of 0.2 means that the slot rewriter needs a fifth. It is 0, its limit, where none of the free
rewriter's phrases is accepted: `accepted_free` says how many were. `tokens_ratio_at_best` does not
depend on how good the LLM is at free rewriting: it is what the ratio would be if all that the free
rewriter writes were accepted. `checks_per_second` is how many negatives the checks judge in one
thread.

With `--items` the phrases are the positives of FG-OVD, then those of the photos' captions that have
an attribute, in the order of the file; otherwise those of the small world.

Example:
    python benchmarks/negatives.py --model runs/demo/models/smollm2 --items coco_open.parquet
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from datagen.demo.language import phrase_of
from datagen.demo.world import make_scene
from datagen.engines.chat import ChatEngine
from datagen.engines.config import EngineConfig
from datagen.engines.errors import RequestError
from datagen.engines.open import open_engine
from datagen.engines.prompts import load_prompt
from datagen.negatives.candidates import allowed_kinds
from datagen.negatives.checks import Context, first_failure
from datagen.negatives.drafts import Draft
from datagen.negatives.lexicon import Lexicon, load_lexicon
from datagen.negatives.rewriter import FreeRewriter, Phrase, Rewriter, SlotRewriter
from datagen.negatives.slots import Slot, SlotFinder
from datagen.regions.phrases import PhraseChunker

PROMPTS = Path(__file__).parents[1] / "prompts"
CHECKED = 20_000
"""Drafts that the checks are timed on."""
TIMEOUT_S = 3600.0
"""All requests wait in the engine from the start, the last ones for the whole run."""


@dataclass(frozen=True)
class Cost:
    """Of one rewriter on all phrases."""

    drafts: int
    accepted: int
    tokens: int
    requests: int
    refusals: Counter[str]

    @property
    def acceptance(self) -> float:
        """Share of the drafts that the checks accept."""
        return self.accepted / max(1, self.drafts)

    @property
    def tokens_each(self) -> float:
        """Tokens for each accepted negative, of which there must be one."""
        return self.tokens / self.accepted


def phrases(items: Path | None, count: int, lexicon: Lexicon) -> list[tuple[str, list[Slot]]]:
    """Different phrases that have an attribute, with their slots."""
    if items is not None:
        table = pq.read_table(items, columns=["fgovd", "captions"])
        texts = [item["positive"] for row in table["fgovd"].to_pylist() for item in row]
        captions = [caption for row in table["captions"].to_pylist() for caption in row]
        texts += [phrase.text for found in PhraseChunker().chunk(captions) for phrase in found]
    else:
        scenes = (make_scene("evaluation", index) for index in range(count))
        texts = [phrase_of(thing) for scene in scenes for thing in scene.objects]
    different = list(dict.fromkeys(texts))
    found = zip(different, SlotFinder(lexicon).find(different), strict=True)
    kinds = allowed_kinds(lexicon)
    return [(t, slots) for t, slots in found if any(s.kind in kinds for s in slots)][:count]


async def cost(
    rewriter: Rewriter,
    engine: ChatEngine,
    found: Sequence[tuple[str, list[Slot]]],
    lexicon: Lexicon,
) -> Cost:
    """Rewrite everything and hold it against the checks."""
    kinds, before = allowed_kinds(lexicon), engine.usage
    answers = await asyncio.gather(
        *(
            rewriter.rewrite(Phrase(text, text, tuple(s for s in slots if s.kind in kinds)))
            for text, slots in found
        ),
        return_exceptions=True,
    )
    drafts = accepted = 0
    refusals: Counter[str] = Counter()
    for (text, slots), answer in zip(found, answers, strict=True):
        if isinstance(answer, RequestError):
            refusals["request"] += 1
            continue
        if isinstance(answer, BaseException):
            raise answer
        context = Context(text, slots, lexicon)
        for draft in answer.drafts:
            drafts += 1
            failure = first_failure(draft, context)
            if failure is None:
                context.keep(draft)
                accepted += 1
            else:
                refusals[failure[0]] += 1
    after = engine.usage
    tokens = after.prompt_tokens + after.output_tokens - before.prompt_tokens - before.output_tokens
    return Cost(drafts, accepted, tokens, after.requests - before.requests, refusals)


def checks_per_second(drafts: Sequence[tuple[Draft, list[Slot]]], lexicon: Lexicon) -> float:
    """Negatives that the checks judge in a second of one core's time."""
    contexts = [Context(draft.positive, slots, lexicon) for draft, slots in drafts]
    started = time.process_time()
    for (draft, _), context in zip(drafts, contexts, strict=True):
        first_failure(draft, context)
    return len(drafts) / (time.process_time() - started)


async def run(arguments: argparse.Namespace) -> None:
    """Both rewriters, one after the other, on one engine."""
    lexicon = load_lexicon()
    found = phrases(arguments.items, arguments.phrases, lexicon)
    engine = open_engine(
        EngineConfig(
            model=arguments.model,
            max_model_len=1536,
            max_num_seqs=16,
            request_timeout_s=TIMEOUT_S,
        )
    )
    try:
        by_slots = SlotRewriter(engine, load_prompt(PROMPTS / "negatives_slots.md"), lexicon)
        free = FreeRewriter(engine, load_prompt(PROMPTS / "negatives_free.md"))
        slots_cost = await cost(by_slots, engine, found, lexicon)
        print("slots:", slots_cost, flush=True)
        free_cost = await cost(free, engine, found, lexicon)
        print("free:", free_cost, flush=True)
        kinds = allowed_kinds(lexicon)
        drafts = [
            (draft, slots)
            for text, slots in found
            for draft in (
                await by_slots.rewrite(
                    Phrase(text, text, tuple(s for s in slots if s.kind in kinds))
                )
            ).drafts
        ]
    finally:
        await engine.close()
    many = (drafts * (CHECKED // len(drafts) + 1))[:CHECKED]
    result = {
        "tokens_ratio": round(slots_cost.tokens_each * free_cost.accepted / free_cost.tokens, 4),
        "tokens_ratio_at_best": round(
            slots_cost.tokens_each * free_cost.drafts / free_cost.tokens, 4
        ),
        "accept_slots": round(slots_cost.acceptance, 4),
        "accept_free": round(free_cost.acceptance, 4),
        "accepted_slots": slots_cost.accepted,
        "accepted_free": free_cost.accepted,
        "tokens_each_slots": round(slots_cost.tokens_each, 2),
        "tokens_each_draft_free": round(free_cost.tokens / free_cost.drafts, 2),
        "phrases": len(found),
        "checks_per_second": round(checks_per_second(many, lexicon)),
    }
    print(json.dumps(result))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the LLM's folder or name")
    parser.add_argument("--items", type=Path, help="Parquet file with `fgovd` and `captions`")
    parser.add_argument("--phrases", type=int, default=200, help="different phrases")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
