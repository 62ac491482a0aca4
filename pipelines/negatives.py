"""regions → candidates → negatives: an LLM names other values, then a balanced choice is verified.

Example:
    python pipelines/negatives.py --data runs/photos --model Qwen/Qwen2.5-7B-Instruct
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from datagen.command import command
from datagen.dataset import Dataset
from datagen.flow import run_stages
from datagen.negatives.candidates import CandidatesConfig, CandidatesStage
from datagen.negatives.stage import NegativesConfig, NegativesStage, count_slots
from datagen.negatives.verify import VerifierConfig
from datagen.runner import RunConfig
from datagen.verification.detector import DetectorVerifierConfig
from datagen.verification.lmm import LmmVerifierConfig
from datagen.verification.region_score import RegionScoreConfig


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Who looks at the picture; each costs a model."""

    detector: DetectorVerifierConfig | None = None
    region_score: RegionScoreConfig | None = None
    lmm: LmmVerifierConfig | None = None

    def chosen(self) -> list[VerifierConfig]:
        """Those that are configured."""
        return [v for v in (self.detector, self.region_score, self.lmm) if v is not None]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of negatives.py."""

    data: str
    """The dataset: a folder or URL."""
    candidates: CandidatesConfig
    negatives: NegativesConfig = field(default_factory=NegativesConfig)
    verify: Annotated[VerifyConfig, tyro.conf.Suppress] = field(default_factory=VerifyConfig)
    """In recipes only, since each has a model of its own."""
    run: RunConfig = field(default_factory=RunConfig)


def main(config: Config) -> None:
    """Do the shards that are missing, of both tables.

    A dry run shows candidates only: the choice among them needs counts over all of them.
    """
    dataset = Dataset(config.data)
    run_stages([(CandidatesStage(config.candidates), config.run)], dataset)
    if config.run.dry_run:
        return
    stage = NegativesStage(
        config.negatives,
        count_slots(dataset),
        config.verify.chosen(),
        config.candidates.lexicon,
    )
    run_stages([(stage, config.run)], dataset)


if __name__ == "__main__":
    command(Config, main, __doc__)
