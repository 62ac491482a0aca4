"""The original Grounding DINO of groundingdino-py, in an environment of its own.

The package pins versions of years ago, so it lives in another Python environment and is reached
through an actor whose runtime environment names that environment's interpreter. Only numpy
pictures and plain tuples travel between the two. `docs/detectors.md` tells how to make it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datagen.engines.errors import EngineDeadError, ModelNotFoundError
from datagen.regions import groundingdino_worker, prompt_text
from datagen.regions.boxes import Detection

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class GroundingDinoSettings:
    """Where the original Grounding DINO runs, and how it reads its checkpoint."""

    python: str = ".venv-groundingdino/bin/python"
    """Interpreter of the environment that holds groundingdino-py and the same Ray and Python."""
    config: str = "GroundingDINO_SwinT_OGC"
    """Name of a configuration that the package brings, or the path of one."""
    text_encoder: str | None = None
    """BERT's name on a model hub, or a folder; None takes the configuration's."""
    shortest: int = 800
    """Pictures are resized to this shorter side, in pixels, …"""
    longest: int = 1333
    """… unless the longer one then exceeds this."""
    cpus: float = 1.0
    """CPUs of the detector's actor, beside those of the stage's own."""
    gpus: float = 0.0
    """GPUs of the detector's actor; the stage's own then needs none."""

    def lineage(self) -> dict[str, str | int | None]:
        """What changes the rows."""
        return {
            "config": self.config,
            "text_encoder": self.text_encoder,
            "shortest": self.shortest,
            "longest": self.longest,
        }


def check_groundingdino(checkpoint: str, settings: GroundingDinoSettings) -> None:
    """Look whether checkpoint and interpreter are there.

    Raises:
        ModelNotFoundError: one of them is not.
    """
    if not Path(checkpoint).is_file():
        raise ModelNotFoundError(
            f"There is no checkpoint {checkpoint}: give the file of an original Grounding DINO, "
            "such as groundingdino_swint_ogc.pth."
        )
    if not Path(settings.python).is_file():
        raise ModelNotFoundError(
            f"There is no Python {settings.python} for the original Grounding DINO: make its "
            "environment with `make groundingdino-env`, or name the interpreter of another."
        )


class GroundingDinoPyDetector:
    """A `Detector` whose model runs in an actor of another environment. Needs a running Ray.

    Args:
        model: checkpoint in the original format, for example groundingdino_swint_ogc.pth.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        floor: pairs with a lower score, 0..1, are left out.
        settings: the environment, and how pictures are resized.

    Raises:
        ModelNotFoundError: checkpoint or interpreter are not there, or do not fit together.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        floor: float = 0.05,
        settings: GroundingDinoSettings | None = None,
    ) -> None:
        import ray

        settings = settings or GroundingDinoSettings()
        check_groundingdino(model, settings)
        # The other environment has none of our packages: our two modules travel as they are.
        ray.cloudpickle.register_pickle_by_value(prompt_text)
        ray.cloudpickle.register_pickle_by_value(groundingdino_worker)
        actor: Any = ray.remote(groundingdino_worker.GroundingDinoWorker)
        actor = actor.options(
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
            # Not resolved: an environment's python is a link, and the link makes the environment.
            runtime_env={"py_executable": str(Path(settings.python).absolute())},
        )
        text_encoder = settings.text_encoder
        if text_encoder and Path(text_encoder).is_dir():
            text_encoder = str(Path(text_encoder).absolute())
        self._actor = actor.remote(
            str(Path(model).absolute()),
            settings.config,
            text_encoder,
            device,
            floor,
            settings.shortest,
            settings.longest,
        )
        try:
            ray.get(self._actor.__ray_ready__.remote())
        except ray.exceptions.RayError as error:
            raise ModelNotFoundError(
                f"The original Grounding DINO {model} did not start in {settings.python}: "
                f"{_reason(error)}"
            ) from error

    def detect(
        self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """See `Detector.detect`; pairs with a score below the floor are left out.

        Raises:
            ValueError: not as many lists of phrases as images.
        """
        import ray

        if len(images) != len(phrases):
            raise ValueError(f"{len(images)} images came with {len(phrases)} lists of phrases.")
        pictures = [np.asarray(image.convert("RGB")) for image in images]
        try:
            found = ray.get(self._actor.detect.remote(pictures, [list(own) for own in phrases]))
        except ray.exceptions.RayTaskError:
            raise  # these pictures; others may do
        except ray.exceptions.RayError as error:
            raise EngineDeadError(f"The original Grounding DINO is gone: {error}") from error
        return [sorted((Detection(*one) for one in own), key=lambda d: -d.score) for own in found]


def _reason(error: Exception) -> str:
    """The last line of what Ray tells, which is that of the other process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
