"""Where a shard came from: the run's configuration, its fingerprint, and what is kept of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from datagen.version import code_version


def fingerprint(settings: Mapping[str, Any]) -> str:
    """First 64 bits, in hex, of the SHA-256 of the settings as canonical JSON."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What a stage's output depends on. Two runs with equal settings may share an output.

    `settings` holds only what changes the rows (model, prompts with their hashes, sampling,
    thresholds), never what changes the speed (actors, rows in flight).
    """

    stage: str
    settings: dict[str, Any]
    code_version: str = field(default_factory=code_version)

    @property
    def fingerprint(self) -> str:
        """Of the stage's name and its settings; the code version is recorded beside it."""
        return fingerprint({"stage": self.stage, "settings": self.settings})

    def to_json(self) -> dict[str, Any]:
        """For `run.json` and for the metadata of each shard."""
        return {**asdict(self), "fingerprint": self.fingerprint}


def differing_fields(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the settings that differ, each with both values, for an error message."""
    lines: list[str] = []
    for key in sorted(set(old) | set(new)):
        name = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differing_fields(before, after, f"{name}.")
        elif before != after:
            lines.append(f"{name}: {before!r} there, {after!r} now")
    return lines
