"""The published FG-OVD evaluator, run as it is: its functions on its model, on this machine.

Its file is imported unchanged from a checkout of the v1.0 branch. It imports torchvision for
RoIAlign alone and names of older transformers for documentation alone; where these are missing,
stand-ins are put in their place before the import. Its one fixed path, of the annotations, is met
by running it in a folder that has them there.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import resource
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers.utils
from torch import Tensor, nn

from datagen.errors import UserError

EVALUATOR = Path("fgclip") / "eval" / "fgovd_eval.py"
_stand_in_s = 0.0  # spent in the stand-in for RoIAlign, which torchvision does in no time
_FIXED = Path("fgovd_json") / "1_attributes_llava.jsonl"


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """What the published evaluator found: of each item, cosines and whether it counted it right."""

    scores: list[Tensor]
    right: list[bool]
    cpu_s: float
    """Of the process, without what the stand-in for RoIAlign takes."""


class _Recorder(nn.Module):
    """Passes calls on to the model and keeps what it answers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.regions: list[Tensor] = []
        self.texts: list[Tensor] = []

    def get_image_box_roi_features(self, *given: Any, **named: Any) -> Tensor:
        """As the model; kept."""
        self.regions.append(self.model.get_image_box_roi_features(*given, **named))
        return self.regions[-1]

    def get_text_features(self, *given: Any, **named: Any) -> Tensor:
        """As the model; kept."""
        self.texts.append(self.model.get_text_features(*given, **named))
        return self.texts[-1]


def load(reference: Path) -> tuple[Any, Any]:
    """The published evaluator's module, and the published class of the model.

    Raises:
        UserError: the folder is no checkout of the published code.
    """
    if not (reference / EVALUATOR).is_file():
        raise UserError(
            f"{reference} has no {EVALUATOR}: give a checkout of the branch v1.0 of "
            "360CVGroup/FG-CLIP."
        )
    _stand_ins()
    sys.path.insert(0, str(reference))
    module = importlib.import_module("fgclip.eval.fgovd_eval")
    return module, module.FGCLIPModel


def run(
    module: Any,
    model: Any,
    processor: Any,
    tokenizer: Any,
    annotations: Path,
    images: Path,
    folder: Path,
) -> PublishedRun:
    """Evaluate with the published function, in `folder`."""
    fixed = folder / _FIXED
    fixed.parent.mkdir(parents=True, exist_ok=True)
    fixed.write_bytes(annotations.read_bytes())
    recorder = _Recorder(model).eval()
    size = model.config.vision_config.image_size
    arguments = types.SimpleNamespace(
        image_folder=f"{images.absolute()}/", image_size=size, max_length=77
    )
    said = io.StringIO()
    with _working_in(folder), contextlib.redirect_stdout(said):
        before = resource.getrusage(resource.RUSAGE_SELF)
        module.eval_fg(recorder, processor, tokenizer, torch.device("cpu"), arguments)
        after = resource.getrusage(resource.RUSAGE_SELF)
    shares = [float(found) for found in re.findall(r"precision:\s+(\S+)", said.getvalue())]
    return PublishedRun(
        scores=[
            nn.functional.normalize(text, dim=-1) @ nn.functional.normalize(region, dim=-1)[0]
            for region, text in zip(recorder.regions, recorder.texts, strict=True)
        ],
        right=_steps(shares),
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - _stand_in_s,
    )


def _steps(shares: Sequence[float]) -> list[bool]:
    """It prints the growing number of right items as a share of all: where it grew."""
    counts = [round(share * len(shares)) for share in shares]
    return [after > before for before, after in zip([0, *counts], counts, strict=False)]


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _stand_ins() -> None:
    def decorator(*_given: Any, **_named: Any) -> Callable[[Any], Any]:
        return lambda found: found

    for name in (
        "add_start_docstrings",
        "add_start_docstrings_to_model_forward",
        "replace_return_docstrings",
    ):
        setattr(transformers.utils, name, decorator)
    if find_spec("transformers.onnx") is None:
        _module("transformers.onnx", OnnxConfig=object)
    if find_spec("torchvision") is None:
        _module("torchvision")
        _module("torchvision.ops", roi_align=roi_align)
        _module("torchvision.datasets", CocoCaptions=object)


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    for key, value in content.items():
        setattr(module, key, value)
    sys.modules[name] = module


def roi_align(
    features: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    scale: float,
    ratio: int,
    aligned: bool,
) -> Tensor:
    """torchvision's RoIAlign for one cell, sample by sample, as its C++ has it.

    Args:
        features: (B, C, H, W).
        boxes: (R, 5) index of the image, then x1, y1, x2, y2 in cells.
        size, scale, ratio, aligned: (1, 1), 1, -1 and True are what is implemented.

    Returns:
        (R, C, 1, 1)
    """
    if (size, scale, ratio, aligned) != ((1, 1), 1.0, -1, True):
        raise NotImplementedError("This stand-in knows what the FG-OVD evaluator asks for.")
    _, channels, height, width = features.shape
    global _stand_in_s
    before = time.process_time()
    found = []
    for image, *corners in boxes:
        x1, y1, x2, y2 = (corner - 0.5 for corner in corners)
        rows, columns = int(torch.ceil(y2 - y1)), int(torch.ceil(x2 - x1))
        total = features.new_zeros(channels)
        for i in range(rows):
            y = float(y1 + (i + 0.5) * (y2 - y1) / rows)
            for j in range(columns):
                x = float(x1 + (j + 0.5) * (x2 - x1) / columns)
                if -1 <= y <= height and -1 <= x <= width:
                    total += _sample(features[int(image)], y, x)
        found.append(total / max(1, rows * columns))
    _stand_in_s += time.process_time() - before
    return torch.stack(found)[..., None, None]


def _sample(feature: Tensor, y: float, x: float) -> Tensor:
    height, width = feature.shape[1:]
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    return (
        feature[:, top, left] * ((1 - down) * (1 - across))
        + feature[:, top, right] * ((1 - down) * across)
        + feature[:, bottom, left] * (down * (1 - across))
        + feature[:, bottom, right] * (down * across)
    )
