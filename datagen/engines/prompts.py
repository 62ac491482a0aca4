"""Prompts as files: YAML front matter, then the text.

The front matter has name, version and max_tokens, and may have temperature (0), language (en) and
max_words (none): in which language and how long the answer should be, for those who check it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from datagen.errors import UserError


class PromptError(UserError):
    """A prompt's file is missing, or not as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt and what its lineage says of it. `hash` is of the whole file."""

    name: str
    version: int
    text: str
    hash: str
    max_tokens: int
    temperature: float
    language: str = "en"
    max_words: int | None = None

    def lineage(self) -> dict[str, str | int | float]:
        """What goes into a run's settings."""
        return {
            "name": self.name,
            "version": self.version,
            "hash": self.hash,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }


def load_prompt(path: str | Path) -> Prompt:
    """Read a prompt file.

    Raises:
        PromptError: the file is missing or its front matter is not as described above.
    """
    file = Path(path)
    try:
        raw = file.read_text(encoding="utf-8")
    except OSError as error:
        raise PromptError(f"Cannot read the prompt {file}: {error.strerror}.") from None
    parts = raw.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise PromptError(f"The prompt {file} must begin with front matter between '---' lines.")
    try:
        front = yaml.safe_load(parts[1])
        return Prompt(
            name=str(front["name"]),
            version=int(front["version"]),
            text=parts[2].strip(),
            hash=hashlib.sha256(raw.encode()).hexdigest()[:16],
            max_tokens=int(front["max_tokens"]),
            temperature=float(front.get("temperature", 0.0)),
            language=str(front.get("language", "en")),
            max_words=int(front["max_words"]) if "max_words" in front else None,
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise PromptError(
            f"The front matter of {file} needs name, version and max_tokens: {error!r}."
        ) from None
