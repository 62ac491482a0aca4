"""The whole job on the small world: `make demo`, or `python -m datagen.demo.run`.

Runs the scripts of `pipelines/` one after the other, as a user would, then holds their tables
against the truth. What is done already is skipped, so a second call only looks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datagen.dataset import Dataset
from datagen.demo.experiment import BENCHMARK, ITEMS, Row, run_experiment
from datagen.demo.measure import measure
from datagen.demo.rewriter import export_rewriter
from datagen.demo.scenes import COUNT, write_scenes

ROOT = Path(__file__).parents[2]
RECIPES = "pipelines/recipes/demo"


def run_demo(output: Path, scenes: int) -> dict[str, Any]:
    """Everything, images to report; returns what `summary.json` holds.

    Raises:
        subprocess.CalledProcessError: a script failed; it has said why.
    """
    data = output / "data"
    _step("1/6 scenes and the rewriter's weights")
    source = write_scenes(output / "scenes.parquet", scenes)
    rewriter = export_rewriter(output / "models" / "smollm2")
    _step("2/6 captions: Idefics3 in vLLM")
    _script("caption", "--images", source, "--data", data)
    _step("3/6 regions: phrases by spaCy, boxes by Grounding DINO")
    _script("regions", "--data", data)
    _step("4/6 negatives: SmolLM2 in vLLM")
    _script("negatives", "--data", data, "--model", rewriter)
    _step("5/6 training three times, each evaluated on unseen scenes")
    experiment = run_experiment(data, output)
    _step("6/6 measuring against the truth, and the report")
    summary = _summary(Dataset(str(data)), experiment)
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    hard, regions = (output / "models" / run for run in ("hard", "regions"))
    _script(
        "report", "--data", data, "--summary", output / "summary.json",
        "--evaluation", hard / ITEMS, "--against", regions / ITEMS,
        "--maps", hard / "model", regions / "model", "--pictures", output / BENCHMARK,
        "--output", output / "report.html", recipe=False,
    )  # fmt: skip
    return summary


def _summary(dataset: Dataset, experiment: list[Row]) -> dict[str, Any]:
    stages: dict[str, Any] = {}
    for stage in ("images", "captions", "regions", "candidates", "negatives"):
        run = dataset.read_json(f"{stage}/summary.json")
        stages[stage] = {
            **_cost(run["rows_in"], run["seconds"]),
            "rows_out": run["rows_out"],
            "dead_letters": run["dead_letters"],
        }
    for stage, rows, seconds in (
        ("training", "train_images", "train_seconds"),
        ("evaluation", "evaluate_items", "evaluate_seconds"),
    ):
        # Summed over the trainings, of which two run at a time on one thread each.
        stages[stage] = _cost(
            sum(int(run.pop(rows)) for run in experiment),
            sum(float(run.pop(seconds)) for run in experiment),
        )
    figures = asdict(measure(dataset))
    return {"synthetic": True, "stages": stages, **figures, "experiment": experiment}


def _cost(rows: int, seconds: float) -> dict[str, int | float]:
    rate = round(rows / seconds, 1) if seconds else 0.0
    return {"rows": rows, "seconds": round(seconds, 1), "rows_per_second": rate}


def _step(title: str) -> None:
    print(f"\n=== {title}", flush=True)


def _script(name: str, *arguments: object, recipe: bool = True) -> None:
    chosen = ("--recipe", f"{RECIPES}/{name}.yaml") if recipe else ()
    command = [f"pipelines/{name}.py", *chosen, *map(str, arguments)]
    print(f"$ python {' '.join(command)}", flush=True)
    subprocess.run(  # noqa: S603  the arguments are our own
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=True,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder to write")
    parser.add_argument("--scenes", type=int, default=COUNT, help="pictures to draw")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        run_demo(arguments.output.resolve(), arguments.scenes)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    print(f"\nDone in {time.monotonic() - started:.0f} s: {arguments.output}/report.html")


if __name__ == "__main__":
    main()
