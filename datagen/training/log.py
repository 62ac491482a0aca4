"""What a run says while it trains: metrics.jsonl, TensorBoard, Weights & Biases, a plot, lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from torch.utils.tensorboard.writer import SummaryWriter
from tqdm import tqdm

from datagen.errors import UserError
from datagen.training.model import FGCLIP

matplotlib.use("Agg")
_SAID_EVERY_S = 10.0
TERMS = ("total", "long", "short", "region", "hard")


class Log:
    """The log of one run; lines of steps that are done again are replaced.

    Args:
        output: folder of the run.
        step: steps done before.
        total: steps of the whole run.
        bar: show a bar where there is a terminal; else lines.
        wandb_project: of Weights & Biases; empty: none.

    Raises:
        UserError: a project is given and wandb is not installed.
    """

    def __init__(
        self, output: Path, step: int, total: int, *, bar: bool, wandb_project: str = ""
    ) -> None:
        self._output, self._name = output, f"train {output.name}"
        self._path = output / "metrics.jsonl"
        kept = [line for line in read_metrics(output) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        self._path.write_text(text, encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)
        self._wandb = _wandb_run(wandb_project, output) if wandb_project else None
        self._total, self._step = total, step
        self._said = self._since = time.monotonic()
        self._images = 0
        self._bar = (
            tqdm(desc=self._name, total=total, initial=step, unit=" steps", dynamic_ncols=True)
            if bar and sys.stderr.isatty()
            else None
        )
        if self._bar is None:
            print(f"{self._name}: started at step {step} of {total}", flush=True)

    def close(self) -> None:
        """Write the plot and close the files."""
        if self._bar is not None:
            self._bar.close()
        self._file.close()
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()
        plot_losses(self._output)

    def advance(self, images: int) -> None:
        """One step is done, with so many images."""
        self._step += 1
        self._images += images
        if self._bar is not None:
            self._bar.update()

    def write(self, losses: Mapping[str, float], rate: float, epoch: int, model: FGCLIP) -> None:
        """Write a line of metrics."""
        now = time.monotonic()
        speed = self._images / max(now - self._since, 1e-9)
        self._since, self._images = now, 0
        values = {name: round(value, 5) for name, value in losses.items()}
        self._record(
            {
                "step": self._step,
                "epoch": epoch,
                **values,
                "learning_rate": rate,
                "images_per_second": round(speed, 2),
                "logit_scale": round(model.logit_scale.exp().item(), 4),
                "logit_scale_region": round(model.logit_scale_finegraind.exp().item(), 4),
                "logit_scale_hard": round(model.logit_scale_hardneg.exp().item(), 4),
            }
        )
        terms = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(terms)
        elif now - self._said > _SAID_EVERY_S or self._step == self._total:
            self._said = now
            of = f"{self._step}/{self._total} steps"
            print(f"{self._name}: {of}, {speed:.1f} images/s, {terms}", flush=True)

    def write_scores(self, scores: Mapping[str, float]) -> None:
        """Write a line of an evaluation."""
        self._record({"step": self._step, **{f"eval/{k}": round(v, 5) for k, v in scores.items()}})
        said = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        print(f"{self._name}: evaluated at step {self._step}: {said}", flush=True)

    def _record(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in line.items():
            if name != "step":
                self._board.add_scalar(name, value, line["step"])
        if self._wandb is not None:
            self._wandb.log(line, step=line["step"])


def read_metrics(output: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; a line that was cut off is left out."""
    path = output / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def plot_losses(output: Path) -> None:
    """Draw `loss.png`: each term over the steps, and the scores of evaluations if there are any."""
    from matplotlib import pyplot

    lines = read_metrics(output)
    if not lines:
        return
    scores = sorted({name for line in lines for name in line if name.startswith("eval/")})
    figure, axes = pyplot.subplots(1, 2 if scores else 1, figsize=(9 if scores else 6, 4))
    left = axes[0] if scores else axes
    panels = [(left, TERMS, "loss")] + ([(axes[1], tuple(scores), "score")] if scores else [])
    for axis, names, label in panels:
        for name in names:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if any(value for _, value in points):
                axis.plot(*zip(*points, strict=True), label=name.removeprefix("eval/"))
        axis.set(xlabel="step", ylabel=label)
        axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(output / "loss.png", dpi=120)
    pyplot.close(figure)


def _wandb_run(project: str, output: Path) -> Any:
    """The run of this folder: begun, or gone on with."""
    try:
        import wandb
    except ImportError:
        raise UserError("Weights & Biases is not installed: pip install wandb") from None
    file = output / "wandb-run.txt"
    run = wandb.init(
        project=project,
        name=output.name,
        dir=str(output),
        id=file.read_text(encoding="utf-8") if file.is_file() else None,
        resume="allow",
        config=json.loads((output / "train.json").read_text(encoding="utf-8")),
    )
    file.write_text(run.id, encoding="utf-8")
    return run
