"""Which detector: transformers' Grounding DINO, the original one, or a class of yours."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from datagen.engines.errors import ModelNotFoundError
from datagen.engines.models import check_model
from datagen.regions.detector import Detector, TransformersDetector
from datagen.regions.groundingdino import (
    GroundingDinoPyDetector,
    GroundingDinoSettings,
    check_groundingdino,
)

TRANSFORMERS, ORIGINAL = "transformers", "groundingdino"


def check_detector(
    backend: str, model: str, revision: str | None, settings: GroundingDinoSettings
) -> None:
    """Look, cheaply, whether the detector can be opened.

    Raises:
        ModelNotFoundError: there is no such model or class.
    """
    if backend == TRANSFORMERS:
        check_model(model, revision)
    elif backend == ORIGINAL:
        check_groundingdino(model, settings)
    else:
        _class(backend)


def open_detector(
    backend: str,
    model: str,
    revision: str | None,
    device: str | None,
    settings: GroundingDinoSettings,
) -> Detector:
    """The detector, loaded.

    Args:
        backend: "transformers", "groundingdino" or "package.module:Class".
        model: what the backend makes of it: a folder, a checkpoint, the URL of a server, …
        revision: of a model from a hub.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        settings: of the backend "groundingdino".

    Raises:
        ModelNotFoundError: there is no such model or class.
    """
    if backend == TRANSFORMERS:
        return TransformersDetector(model, revision=revision, device=device)
    if backend == ORIGINAL:
        return GroundingDinoPyDetector(model, device=device, settings=settings)
    return _class(backend)(model)


def _class(name: str) -> Callable[[str], Detector]:
    module, _, attribute = name.partition(":")
    try:
        found: Callable[[str], Detector] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelNotFoundError(
            f"The detector's backend {name!r} cannot be imported ({error}): give "
            f"{TRANSFORMERS!r}, {ORIGINAL!r} or 'package.module:Class' with a class of yours."
        ) from error
    return found
