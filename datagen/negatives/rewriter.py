"""Two rewriters behind one interface: by slots (the default), and free, as in the paper."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from datagen.engines.chat import ChatEngine, ChatRequest, Sampling, Structure
from datagen.engines.errors import RequestError
from datagen.engines.prompts import Prompt
from datagen.negatives.drafts import Draft, Edit, put_values
from datagen.negatives.lexicon import Lexicon
from datagen.negatives.slots import Slot

VARIANTS = 2
"""Questions about the same values, which meet in other pairs each time."""
ASKED = 12
"""Where there are no more values than these, nothing is asked."""
CHOSEN = 0.75
"""Share of the values that a question keeps."""
SEPARATOR = ", "
_WORD = re.compile(r"[\w'-]+")


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is rewritten: a region's phrase with the slots that may be changed."""

    id: str
    text: str
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """`drafts`, unchecked; `proposed` are the slots whose own value the rewriter names as well.

    Blind balance needs the latter: a value that is never proposed can never be a negative.
    """

    drafts: list[Draft]
    proposed: frozenset[Slot] = frozenset()


class Rewriter(Protocol):
    """Makes other phrases of a phrase."""

    async def rewrite(self, phrase: Phrase) -> Rewritten:
        """Drafts of negatives, in the order in which they should be taken.

        Raises:
            RequestError: the engine refused the request, or its answer is of no use.
            EngineDeadError: the engine is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is asked: which of `values` could the `kind` of a `noun` be?

    It does not hold the old value: the answer must not depend on which one is true.
    """

    kind: str
    noun: str
    values: tuple[str, ...]
    variant: int

    @property
    def seed(self) -> int:
        """31 bits that depend on the whole question."""
        return _hash(repr(self)) & 0x7FFFFFFF


class SlotRewriter:
    """Asks for values only, in a structure that makes them admissible and distinct.

    Half of the values that such a noun can have are put into pairs; the reply must name one of
    each, "(blue|green), (red|black)", so that the value that fits less is left out. Questions name
    the noun and not the phrase, so few differ, and each is asked once in an actor.

    Args:
        prompt: its last line is the question, with `{kind}` and `{noun}`.
    """

    def __init__(self, engine: ChatEngine, prompt: Prompt, lexicon: Lexicon) -> None:
        self._engine, self._prompt, self._lexicon = engine, prompt, lexicon
        self._system, _, self._question = prompt.text.rpartition("\n")
        self._asked: dict[Question, asyncio.Task[list[str]]] = {}

    async def rewrite(self, phrase: Phrase) -> Rewritten:
        """See `Rewriter.rewrite`; one draft for each slot and value, the slots taking turns."""
        answers = await asyncio.gather(*(self.values(slot) for slot in phrase.slots))
        drafts: list[list[Draft]] = []
        proposed = set()
        for slot, values in zip(phrase.slots, answers, strict=True):
            if self._lexicon.canonical(slot.value, slot.kind) in values:
                proposed.add(slot)
            others = set(self._lexicon.others(slot.surface(phrase.text), slot.kind, slot.noun))
            drafts.append(
                [
                    put_values(phrase.text, [(slot, value)], after_of=self._lexicon.after_of)
                    for value in _shuffled(values, f"{phrase.id}/{slot.span_start}")
                    if value in others
                ]
            )
        longest = max(map(len, drafts), default=0)
        turns = [some[i] for i in range(longest) for some in drafts if i < len(some)]
        return Rewritten(turns, frozenset(proposed))

    async def values(self, slot: Slot) -> list[str]:
        """Canonical values that the slot's noun could have, perhaps the slot's own among them.

        Raises:
            RequestError: the engine refused the question or was cut off in its answer.
            EngineDeadError: the engine is gone.
        """
        family = self._lexicon.family(slot.value, slot.kind, slot.noun)
        if len(family) <= ASKED:
            return list(family)
        questions = [Question(slot.kind, slot.noun, family, v) for v in range(VARIANTS)]
        found: dict[str, None] = {}
        for question in questions:
            found |= dict.fromkeys(await self._answer(question))
        return list(found)

    async def _answer(self, question: Question) -> list[str]:
        if question not in self._asked:
            self._asked[question] = asyncio.create_task(self._ask(question))
        task = self._asked[question]
        try:
            return await asyncio.shield(task)  # others may wait for it when this row is cancelled
        except RequestError:
            self._asked.pop(question, None)
            raise

    async def _ask(self, question: Question) -> list[str]:
        dealt = deal(question)
        groups = [group for group in dealt if len(group) > 1]
        certain = [group[0] for group in dealt if len(group) == 1]
        reply = await self._engine.chat(
            ChatRequest(
                system=self._system.strip(),
                text=self._question.format(kind=question.kind, noun=question.noun),
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
        return [*chosen, *certain]


class FreeRewriter:
    """The paper's way: the LLM writes whole phrases, several in one request, as a JSON list.

    Args:
        prompt: its last line is the request, with `{count}` and `{phrase}`.
        count: phrases wanted of each.
    """

    def __init__(self, engine: ChatEngine, prompt: Prompt, count: int = 10) -> None:
        self._engine, self._prompt, self._count = engine, prompt, count
        self._system, _, self._request = prompt.text.rpartition("\n")

    async def rewrite(self, phrase: Phrase) -> Rewritten:
        """See `Rewriter.rewrite`."""
        longest = 2 * len(phrase.text) + 20
        schema = {
            "type": "array",
            "items": {"type": "string", "maxLength": longest},
            "minItems": self._count,
            "maxItems": self._count,
        }
        reply = await self._engine.chat(
            ChatRequest(
                system=self._system.strip(),
                text=self._request.format(count=self._count, phrase=phrase.text),
                structure=Structure(json_schema=json.dumps(schema)),
                sampling=Sampling(
                    max_tokens=self._prompt.max_tokens,
                    temperature=self._prompt.temperature,
                    seed=_hash(phrase.id) & 0x7FFFFFFF,
                ),
            )
        )
        try:
            texts = json.loads(reply.text)
        except json.JSONDecodeError:
            raise RequestError(
                f"The engine answered {reply.text[:200]!r} and ended with {reply.finish_reason!r}: "
                "it was cut off, or does not follow structures."
            ) from None
        drafts = [compare(phrase.text, str(text), phrase.slots) for text in texts]
        return Rewritten(drafts)


def compare(positive: str, text: str, slots: Sequence[Slot]) -> Draft:
    """A draft from a text that came whole: its edits are the words in which the two differ."""
    old, new = list(_WORD.finditer(positive)), list(_WORD.finditer(text))
    matcher = difflib.SequenceMatcher(
        None, [w.group().lower() for w in old], [w.group().lower() for w in new], autojunk=False
    )
    edits = []
    for tag, i, j, k, m in matcher.get_opcodes():
        articles = {w.group().lower() for w in (*old[i:j], *new[k:m])} <= {"a", "an"}
        if tag == "equal" or articles:
            continue
        if min(j - i, m - k) > 1 and {old[i][0].lower(), new[k][0].lower()} <= {"a", "an"}:
            i, k = i + 1, k + 1  # the article goes with the value
        start, end = _span(old, i, j, len(positive))
        new_start, new_end = _span(new, k, m, len(text))
        edits.append(_edit(positive, text, (start, end), (new_start, new_end), slots))
    if not edits:
        edits.append(Edit(0, 0, 0, 0, None))
    return Draft(positive, text, tuple(edits))


def _edit(
    positive: str,
    text: str,
    old: tuple[int, int],
    new: tuple[int, int],
    slots: Sequence[Slot],
) -> Edit:
    """The slot that holds all changed characters; the edit grows to the whole slot where it can."""
    holding = [s for s in slots if s.span_start <= old[0] and old[1] <= s.span_end]
    if not holding or old[0] == old[1]:
        return Edit(*old, *new, None)
    slot = min(holding, key=lambda s: s.span_end - s.span_start)
    before, after = old[0] - slot.span_start, slot.span_end - old[1]
    grown = new[0] - before, new[1] + after
    return Edit(slot.span_start, slot.span_end, *grown, slot)


def _span(words: Sequence[re.Match[str]], first: int, end: int, length: int) -> tuple[int, int]:
    if first < end:
        return words[first].start(), words[end - 1].end()
    place = words[first].start() if first < len(words) else length
    return place, place


def deal(question: Question) -> list[list[str]]:
    """Shuffle the values and deal them into `CHOSEN` of their number: pairs and single ones.

    The order depends on the values and the variant and not on the noun, so that few structures
    exist and the engine compiles each once.
    """
    shuffled = _shuffled(question.values, f"{question.kind}/{question.variant}")
    groups = math.ceil(CHOSEN * len(shuffled))
    return [shuffled[start::groups] for start in range(groups)]


def structure(groups: list[list[str]]) -> str:
    """Regular expression for one value of each group. Values hold a to z, spaces and hyphens."""
    return SEPARATOR.join(f"({'|'.join(group)})" for group in groups)


def _shuffled(values: Sequence[str], seed: str) -> list[str]:
    return random.Random(_hash(seed)).sample(list(values), len(values))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
