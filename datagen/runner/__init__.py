"""Running a stage over shards on Ray: see `run` for how the parts go together."""

from datagen.runner.crew import StageError
from datagen.runner.run import RunConfig, RunSummary, run_stage

__all__ = ["RunConfig", "RunSummary", "StageError", "run_stage"]
