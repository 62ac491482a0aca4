"""Phrases that an LLM rewrote freely, unchecked, as published pipelines keep them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datagen.dataset import Negative
from datagen.engines.config import EngineConfig
from datagen.engines.errors import RequestError
from datagen.engines.open import open_engine
from datagen.engines.prompts import load_prompt
from datagen.negatives.checks import normal
from datagen.negatives.rewriter import FreeRewriter, Phrase, compare

PROMPT = "prompts/negatives_free.md"
AT_ONCE = 64
"""Phrases between two writings of the file."""


def free_drafts(
    phrases: Sequence[str], model: Path, path: Path, asked: int, per_phrase: int
) -> dict[str, list[Negative]]:
    """Rewritten phrases by phrase: distinct ones that are not the phrase itself.

    The LLM is asked for the most frequent phrases alone, each once; what `path` has is not asked
    again.

    Args:
        asked: different phrases.
        per_phrase: phrases wanted of each.

    Raises:
        ModelNotFoundError: there is no such model.
        EngineDeadError: the engine is gone.
    """
    frequent = [phrase for phrase, _ in Counter(phrases).most_common(asked)]
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    missing = [phrase for phrase in frequent if phrase not in known]
    if missing:
        asyncio.run(_ask(missing, known, model, path, per_phrase))
    return {phrase: _negatives(phrase, known[phrase]) for phrase in frequent}


async def _ask(
    phrases: Sequence[str],
    known: dict[str, list[str]],
    model: Path,
    path: Path,
    per_phrase: int,
) -> None:
    engine = open_engine(EngineConfig(model=str(model), max_model_len=1024, max_num_seqs=AT_ONCE))
    rewriter = FreeRewriter(engine, load_prompt(PROMPT), per_phrase)
    try:
        for start in range(0, len(phrases), AT_ONCE):
            some = phrases[start : start + AT_ONCE]
            texts = await asyncio.gather(*(_texts(rewriter, phrase) for phrase in some))
            known |= dict(zip(some, texts, strict=True))
            path.write_text(json.dumps(known, indent=1), encoding="utf-8")
            print(f"free rewriting: {start + len(some)} of {len(phrases)} phrases", flush=True)
    finally:
        await engine.close()


async def _texts(rewriter: FreeRewriter, phrase: str) -> list[str]:
    try:
        rewritten = await rewriter.rewrite(Phrase(phrase, phrase, ()))
    except RequestError as error:
        print(f"free rewriting of {phrase!r}: {error}", flush=True)
        return []
    return [draft.text for draft in rewritten.drafts]


def _negatives(phrase: str, texts: Sequence[str]) -> list[Negative]:
    different = {normal(text): text for text in reversed(texts) if normal(text) != normal(phrase)}
    return [compare(phrase, text, ()).negative() for text in reversed(different.values())]
