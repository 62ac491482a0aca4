"""Is a negative really false? What verifiers are asked and what they answer.

A stage knows verifiers by this protocol alone; those that run another stage's model (a detector, a
CLIP-style model, an LMM) are in `datagen.verification`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from PIL import Image

from datagen.dataset import Negative, Vote
from datagen.dataset.rows import Box
from datagen.negatives.lexicon import NOUN_KINDS, Lexicon
from datagen.negatives.slots import Slot


@dataclass(frozen=True, slots=True)
class Question:
    """A region with phrases that should be false of it.

    `image` is None where no verifier needs one; `neighbours` are the image's other regions.
    """

    image: Image.Image | None
    box: Box
    positive: str
    negatives: tuple[Negative, ...]
    slots: tuple[Slot, ...]
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another region of the image."""

    phrase: str
    slots: tuple[Slot, ...]
    head: str


class Verifier(Protocol):
    """Looks at a region and at phrases that should be false of it; takes many regions at once."""

    async def votes(self, question: Question) -> list[Vote]:
        """One vote for each of the question's negatives.

        Raises:
            RequestError, RowError: this region cannot be judged.
            EngineDeadError: what judges is gone.
        """
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


class VerifierConfig(Protocol):
    """What a stage keeps of a verifier until it is opened in the actor."""

    @property
    def needs_image(self) -> bool:
        """Whether its questions must hold pictures."""
        ...

    def lineage(self) -> dict[str, Any]:
        """What changes its votes."""
        ...

    def check(self) -> None:
        """Look, on the driver and cheaply, whether it can run.

        Raises:
            ModelNotFoundError: its model is not there.
        """
        ...

    async def open(self) -> Verifier:
        """Load its model, in the actor."""
        ...


class AnotherRegion:
    """Votes against a negative that fits another region of the image, as far as phrases tell.

    It fits if it is of the same object and contradicts none of its attributes, and the value that
    was put in is one of them.
    """

    name = "another_region"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def votes_now(self, question: Question) -> list[Vote]:
        """See `Verifier.votes`."""
        return [
            Vote(verifier=self.name, is_true=found, score=float(found))
            for found in (
                any(self._fits(negative, question, other) for other in question.neighbours)
                for negative in question.negatives
            )
        ]

    def _fits(self, negative: Negative, question: Question, other: Neighbour) -> bool:
        slots = [s for s in question.slots if s.kind not in NOUN_KINDS]
        if negative.change == "other_object" or not any(s.noun == other.head for s in slots):
            return False
        theirs = {s.kind: s.surface(other.phrase) for s in other.slots if s.noun == other.head}
        said = {s.kind: s.surface(question.positive) for s in slots if s.noun == other.head}
        kinds = negative.type.split("+")
        if len(kinds) != 1 or kinds[0] not in theirs:
            return False
        said[kinds[0]] = negative.new.lower()
        return all(
            kind not in theirs or self._lexicon.alike(value, theirs[kind], kind)
            for kind, value in said.items()
        )


async def judged(
    question: Question, verifiers: Sequence[Verifier], region: AnotherRegion | None
) -> list[Negative]:
    """The negatives with the votes of all verifiers."""
    if not question.negatives:
        return []
    ballots = await asyncio.gather(*(verifier.votes(question) for verifier in verifiers))
    if region is not None:
        ballots.append(region.votes_now(question))
    return [
        replace(negative, votes=[ballot[number] for ballot in ballots])
        for number, negative in enumerate(question.negatives)
    ]


def believed(negative: Negative, votes_to_drop: int) -> bool:
    """Whether it is held to be false: fewer votes against it than are needed to drop it."""
    return sum(vote.is_true for vote in negative.votes) < votes_to_drop
