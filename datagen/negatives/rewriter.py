"""The slot rewriter: an LLM chooses other values for one attribute, and can do nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass

from datagen.engines.chat import ChatEngine, ChatRequest, Sampling, Structure
from datagen.engines.errors import RequestError
from datagen.engines.prompts import Prompt
from datagen.negatives.lexicon import Lexicon
from datagen.negatives.slots import Slot

VARIANTS = 4
SEPARATOR = ", "


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is asked: `count` values for the `kind` of `noun` that are not `old`.

    `variant` decides which values compete with each other. Equal questions are asked once.
    """

    kind: str
    old: str
    noun: str
    count: int
    variant: int

    @property
    def seed(self) -> int:
        """31 bits that depend on the whole question."""
        return _hash(repr(self)) & 0x7FFFFFFF


class SlotRewriter:
    """Asks for values in a structure that makes them admissible and distinct by construction.

    The values that may replace the old one are dealt into as many groups as values are wanted;
    the reply must name one of each group, "(blue|green), (red|black)". A group of one value
    leaves nothing to choose and is not asked for. Questions name the noun and not the phrase, so
    few differ, and each is asked once in an actor.

    Args:
        prompt: its last line is the question, with `{kind}`, `{noun}` and `{old}`.
    """

    def __init__(self, engine: ChatEngine, prompt: Prompt, lexicon: Lexicon) -> None:
        self._engine, self._prompt, self._lexicon = engine, prompt, lexicon
        self._system, _, self._question = prompt.text.rpartition("\n")
        self._asked: dict[Question, asyncio.Task[list[str]]] = {}
        self.requests = 0

    async def values(self, slot: Slot, count: int, row_id: str) -> list[str]:
        """Values for a slot, canonical and distinct: `count` that were chosen, then the rest.

        The rest are spares for values that a check refuses. Empty where the lexicon has none.

        Raises:
            RequestError: the engine refused the question or was cut off in its answer.
            EngineDeadError: the engine is gone.
        """
        others = self._lexicon.others(slot.value)
        if not others or count < 1:
            return []
        variant = _hash(row_id) % VARIANTS
        old = self._lexicon.canonical(slot.value)
        question = Question(slot.kind, old, slot.noun, min(count, len(others)), variant)
        groups = deal(others, question)
        choices = [group for group in groups if len(group) > 1]
        certain = [group[0] for group in groups if len(group) == 1]
        if not choices:
            return certain
        if question not in self._asked:
            self._asked[question] = asyncio.create_task(self._ask(question, choices))
        task = self._asked[question]
        try:
            chosen = await asyncio.shield(task)  # others may wait for it when this row is cancelled
        except RequestError:
            self._asked.pop(question, None)
            raise
        return [*chosen, *certain, *(v for group in choices for v in group if v not in chosen)]

    async def _ask(self, question: Question, groups: list[list[str]]) -> list[str]:
        self.requests += 1
        reply = await self._engine.chat(
            ChatRequest(
                system=self._system.strip(),
                text=self._question.format(
                    kind=question.kind, noun=question.noun, old=question.old
                ),
                structure=Structure(regex=structure(groups)),
                sampling=Sampling(
                    max_tokens=self._prompt.max_tokens,
                    temperature=self._prompt.temperature,
                    seed=question.seed,
                ),
            )
        )
        chosen = reply.text.strip().split(SEPARATOR)
        fits = len(chosen) == len(groups) and all(
            value in group for value, group in zip(chosen, groups, strict=True)
        )
        if not fits:
            raise RequestError(
                f"The engine answered {reply.text!r} to {question} and ended with "
                f"{reply.finish_reason!r}: it was cut off, or does not follow structures."
            )
        return chosen


def deal(values: tuple[str, ...], question: Question) -> list[list[str]]:
    """Shuffle the values and deal them into `question.count` groups, as even as can be.

    The order depends on kind, old value and variant and not on the noun, so that few structures
    exist and the engine compiles each once.
    """
    shuffled = list(values)
    random.Random(_hash(f"{question.kind}/{question.old}/{question.variant}")).shuffle(shuffled)
    return [shuffled[start :: question.count] for start in range(question.count)]


def structure(groups: list[list[str]]) -> str:
    """Regular expression for one value of each group. Values hold a to z, spaces and hyphens."""
    return SEPARATOR.join(f"({'|'.join(group)})" for group in groups)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
