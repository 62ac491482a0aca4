"""What the scripts in `pipelines/` share: recipes, arguments, and errors for people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import tyro
import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from datagen.dataset import DatasetError
from datagen.engines.errors import EngineDeadError, ModelNotFoundError
from datagen.images.sources import SourceError
from datagen.runner import StageError

ConfigT = TypeVar("ConfigT")
USER_ERRORS = (DatasetError, SourceError, StageError, ModelNotFoundError, EngineDeadError)


class RecipeError(ValueError):
    """A recipe does not fit its configuration; the message names the fields."""


def load_recipe(path: Path, config: type[ConfigT]) -> ConfigT:
    """Read a YAML recipe into a configuration, every field checked by name and type.

    Raises:
        RecipeError: no such file, no YAML, an unknown field, or a value of a wrong type.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise RecipeError(f"Cannot read the recipe {path}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"The recipe {path} is not YAML: {error}.") from None
    _forbid_unknown(config)
    try:
        return TypeAdapter(config).validate_python(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        raise RecipeError(f"The recipe {path} does not fit: {faults}.") from None


def command(config: type[ConfigT], run: Callable[[ConfigT], None], description: str) -> None:
    """Parse the command line and run; a user's mistake ends in one sentence and exit code 1.

    `--recipe FILE` gives defaults from YAML, the other arguments override it.
    """
    arguments = sys.argv[1:]
    try:
        default: Any = tyro.MISSING_NONPROP
        if "--recipe" in arguments:
            at = arguments.index("--recipe")
            if at + 1 == len(arguments):
                raise RecipeError("--recipe needs a file.")
            default = load_recipe(Path(arguments[at + 1]), config)
            del arguments[at : at + 2]
        parsed = tyro.cli(
            config,
            args=arguments,
            default=default,
            description=f"{description}\n\n--recipe FILE gives defaults from YAML.",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagConversionOff),
        )
        run(parsed)
    except (RecipeError, *USER_ERRORS) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; run the same command again to continue.")


def _forbid_unknown(config: Any) -> None:
    """Let pydantic refuse unknown fields of a dataclass and of those inside it."""
    if is_dataclass(config) and isinstance(config, type):
        config.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
        for kind in config.__annotations__.values():
            _forbid_unknown(kind)
