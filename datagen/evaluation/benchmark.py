"""What a benchmark is: a module of this folder with a function `run`, found by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Protocol as Interface
from typing import cast

from datagen.evaluation.detection_choices import DetectionChoices
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.item_rows import ItemRow
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.metrics import Ties
from datagen.evaluation.region_negatives import Duplicates, Fewer, Protocol
from datagen.evaluation.result import Result

NAMES = (
    "fgovd",
    "coco_boxes",
    "lvis_boxes",
    "coco_detection",
    "lvis_detection",
    "coco_captions",
    "flickr30k",
    "sharegpt4v",
    "dci",
    "urban1k",
    "imagenet",
    "imagenet_v2",
    "sugarcrepe",
    "aro",
    "tables",
)
"""Of the benchmarks, and of their modules."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a benchmark's items are; which of these a benchmark reads is its own business."""

    annotations: str = ""
    images: str = ""
    data: str = ""
    proposals: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    max_skipped: float = 0.01


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the caller may set; None is the benchmark's own, which published scores follow."""

    ties: Ties | None = None
    duplicates: Duplicates | None = None
    fewer_negatives: Fewer | None = None
    long_text: bool | None = None
    detection: DetectionChoices = field(default_factory=DetectionChoices)
    controls: bool = True
    """Compute the text-only controls too."""

    def protocol(self, own: Protocol) -> Protocol:
        """A benchmark's own choices with the caller's put over them."""
        names = ("ties", "duplicates", "fewer_negatives", "long_text")
        chosen = {name: getattr(self, name) for name in names}
        return replace(own, **{name: v for name, v in chosen.items() if v is not None})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a benchmark found: numbers, the items behind them, and what it had to leave out."""

    results: list[Result]
    items: list[ItemRow] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class Benchmark(Interface):
    """A module with a benchmark."""

    def run(self, encoder: Encoder, source: Source, choices: Choices) -> Outcome:
        """Evaluate.

        Raises:
            EvaluationError: the source is not usable.
        """
        ...


def find(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        EvaluationError: there is none.
    """
    if name not in NAMES:
        raise EvaluationError(f"There is no benchmark {name!r}; there are: {', '.join(NAMES)}.")
    return cast(Benchmark, import_module(f"datagen.evaluation.{name}"))
