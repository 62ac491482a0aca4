"""Published scores of other models, to stand beside one's own, and the Markdown table with both.

Numbers in per cent, as reported by FG-CLIP 2 (Xie et al. 2025, arXiv 2510.10921).
"""

from __future__ import annotations

from collections.abc import Sequence

from datagen.evaluation.result import Result

_COLUMNS = (
    "fgovd_hard top1",
    "fgovd_medium top1",
    "fgovd_easy top1",
    "fgovd_trivial top1",
    "coco_boxes top1",
    "lvis_boxes top1",
    "sharegpt4v i2t_r1",
    "sharegpt4v t2i_r1",
    "dci i2t_r1",
    "dci t2i_r1",
    "coco_captions i2t_r1",
    "coco_captions t2i_r1",
    "flickr30k i2t_r1",
    "flickr30k t2i_r1",
    "imagenet top1",
    "imagenet_v2 top1",
)
_ROWS = """
CLIP-B       12.0 23.1 22.2 58.5 44.2 20.9 78.2 79.6 45.5 43.0 51.8 32.7 82.2 62.1 68.4 61.9
Long-CLIP-B   9.2 18.4 16.2 51.8 36.7 18.2 94.7 93.4 51.7 57.3 57.6 40.4 85.9 70.7 66.8 61.2
FineCLIP-B   26.8 49.8 50.4 71.9 48.4 23.3 70.6 73.3 35.5 34.4 54.5 40.2 82.5 67.9 55.7 48.8
SigLIP2-B    24.9 46.5 48.7 85.0 53.4 20.6 66.0 67.9 32.3 34.2 71.2 55.2 92.6 78.0 81.2 74.5
FG-CLIP-B    46.1 66.6 68.7 83.4 52.3 28.6 96.7 94.9 61.8 60.6 64.1 45.4 90.7 76.4 69.0 61.8
FG-CLIP2-B   52.3 76.3 80.3 92.0 74.9 47.3 95.8 95.4 64.5 64.9 72.1 54.5 94.1 81.9 79.5 72.2
FG-CLIP-L    48.4 69.5 71.2 89.7 63.2 38.3 97.4 96.8 66.7 66.1 68.9 50.9 93.7 81.5 76.1 69.0
FG-CLIP2-L   55.5 77.5 83.1 92.5 74.0 41.9 96.9 96.6 70.0 71.6 75.1 58.6 96.6 84.8 83.0 77.4
"""


def published() -> dict[str, dict[str, float]]:
    """Scores by model, then by benchmark and metric."""
    rows = (line.split() for line in _ROWS.strip().splitlines())
    return {name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, *values in rows}


def markdown(results: Sequence[Result], model: str) -> str:
    """Two tables: all results of the model, and those that others have published beside theirs."""
    protocols = dict.fromkeys(_protocol(result) for result in results if result.settings)
    lines = [
        f"# {model}",
        "",
        *(f"- {protocol}" for protocol in protocols if protocol),
        "",
        "| benchmark | metric | score | 95 % interval | chance | items |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for result in results:
        interval = "" if result.low is None else f"{_cent(result.low)} to {_cent(result.high)}"
        chance = _cent(result.chance)
        lines.append(
            f"| {result.benchmark} | {result.metric} | {_cent(result.value)} | {interval} "
            f"| {chance} | {result.n:,} |"
        )
    ours = {f"{result.benchmark} {result.metric}": result.value for result in results}
    columns = [column for column in _COLUMNS if column in ours]
    if columns:
        lines += ["", "Beside published scores:", ""]
        lines.append("| model | " + " | ".join(columns) + " |")
        lines.append("|---|" + "---:|" * len(columns))
        lines.append(f"| **{model}** | " + " | ".join(_cent(ours[c]) for c in columns) + " |")
        for name, scores in published().items():
            lines.append(f"| {name} | " + " | ".join(f"{scores[c]:.1f}" for c in columns) + " |")
    return "\n".join(lines) + "\n"


def _protocol(result: Result) -> str:
    """What was done with pictures, which published scores beside may have done otherwise."""
    names = ("regions", "resize", "interpolation", "image_size")
    told = [f"{name} {result.settings[name]}" for name in names if name in result.settings]
    return ", ".join(told)


def _cent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
