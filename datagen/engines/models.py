"""Is a model there? Asked before anything large is started."""

from __future__ import annotations

import logging
from pathlib import Path

from datagen.engines.errors import ModelNotFoundError


def check_model(model: str, revision: str | None = None) -> None:
    """Look whether a model's configuration can be read, before anything large is started.

    Raises:
        ModelNotFoundError: with one sentence on what was looked for and what to give.
    """
    from transformers import PretrainedConfig

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are no news
    try:
        found, _ = PretrainedConfig.get_config_dict(model, revision=revision)
    except OSError as error:
        raise _not_found(model) from error
    if not found:  # transformers says of a folder without the file that it is empty
        raise _not_found(model)


def _not_found(model: str) -> ModelNotFoundError:
    where = (
        f"the folder {model} holds no config.json"
        if Path(model).is_dir()
        else f"{model!r} is no folder here and no model hub knows it or can be reached"
    )
    return ModelNotFoundError(
        f"Model not found: {where}. Give a folder with a model, or a name such as "
        "'Qwen/Qwen2.5-VL-7B-Instruct' on a machine that reaches the hub."
    )
