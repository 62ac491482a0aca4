"""Prompts with a place for what came with the picture: its caption, or a column of its source.

A prompt file may name columns in braces, such as `{source_caption}` (of the images table) or
`{title}` (a column of the source). A paragraph with braces is left out for a picture that lacks one
of its columns. Put it last: the constant text before it is then shared by all requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

MAX_HINT = 1000
"""Characters of a hint that the model is shown."""

_PLACE = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
_PARAGRAPHS = re.compile(r"\n\s*\n")


def columns_of(template: str) -> tuple[str, ...]:
    """The columns that a prompt names, each once."""
    return tuple(dict.fromkeys(_PLACE.findall(template)))


def hints_of(source_caption: str | None, source: str | None) -> dict[str, str]:
    """What a row of the images table has to give: its caption and the columns of its source.

    Args:
        source: a JSON object, or None.
    """
    known = json.loads(source) if source else {}
    hints = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in known.items()
        if value is not None
    }
    return hints | ({"source_caption": source_caption} if source_caption else {})


def constant(template: str) -> str:
    """The paragraphs without places for hints."""
    return fill(template, {})


def fill(template: str, hints: Mapping[str, str]) -> str:
    """The prompt for one picture. Hints become one line each, cut to `MAX_HINT` characters."""
    kept = []
    for paragraph in _PARAGRAPHS.split(template):
        if all(_line(hints.get(name, "")) for name in _PLACE.findall(paragraph)):
            kept.append(_PLACE.sub(lambda place: _line(hints[place.group(1)]), paragraph))
    return "\n\n".join(kept)


def _line(hint: str) -> str:
    """Without line breaks, control characters and marks of chat templates ("<|", "[INST]")."""
    plain = "".join(c if c.isprintable() else " " for c in hint)
    return " ".join(re.sub(r"<\|.*?\|>|</?s>|\[/?INST\]|<[a-z_]+>", " ", plain).split())[:MAX_HINT]
