"""What the scripts in `pipelines/` share: recipes, arguments, and errors for people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro
import yaml
from pydantic import TypeAdapter, ValidationError

from datagen.errors import UserError

ConfigT = TypeVar("ConfigT")


class RecipeError(UserError):
    """A recipe does not fit its configuration; the message names the fields."""


def load_recipe(path: Path, config: type[ConfigT]) -> ConfigT:
    """Read a YAML recipe into a configuration, every field checked by name and type.

    A recipe may leave fields out: those without a default must then be given as arguments.

    Raises:
        RecipeError: no such file, no YAML, an unknown field, or a value of a wrong type.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise RecipeError(f"Cannot read the recipe {path}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"The recipe {path} is not YAML: {error}.") from None
    return _build(config, values, str(path))


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
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; run the same command again to continue.")


def _build(config: Any, values: Any, where: str) -> Any:
    """Make a dataclass from a mapping; what is required and not given is left to the arguments."""
    known = {field.name: field for field in fields(config)}
    if not isinstance(values, dict):
        raise RecipeError(f"{where} must be a mapping with some of: {', '.join(known)}.")
    if unknown := sorted(set(values) - set(known)):
        raise RecipeError(f"{where} has no field {', '.join(unknown)}; it has: {', '.join(known)}.")
    hints, arguments = get_type_hints(config), {}
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if is_dataclass(hints[name]) and (name in values or required):
            arguments[name] = _build(hints[name], values.get(name, {}), f"{where}: {name}")
        elif name in values:
            try:
                arguments[name] = TypeAdapter(hints[name]).validate_python(values[name])
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise RecipeError(f"{where}: {name} does not fit: {reason}.") from None
        elif required:
            arguments[name] = tyro.MISSING
    return config(**arguments)
