"""The card of a Hugging Face dataset, filled from the runs that made the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from datagen.dataset import Dataset

TEMPLATE = Path(__file__).with_name("card.md.jinja")
DRAWN = "truth"
"""The stage that writes tables of drawn pictures from what was drawn."""
_GENERATED = {"captions": "Captions", "regions": "boxes", "negatives": "negatives"}
_SIZES = (
    *((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")),
    *((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B")),
)
_MODEL_KEYS = ("model", "detector", "spacy_model")


def render_card(dataset: Dataset, about: Mapping[str, Any], title: str, synthetic: bool) -> str:
    """The README.md of a dataset folder.

    Args:
        about: rows and dead letters of each table, as `_export.json` has them.
        synthetic: whether the pictures are drawn; also taken from the tables where they say so.
    """
    runs = {table: dataset.read_json(f"{table}/run.json") for table in about["rows"]}
    stages = [
        {
            "table": table,
            "rows": about["rows"][table],
            "dead_letters": about["dead_letters"][table],
            "stage": run.get("stage", "unknown"),
            "models": ", ".join(_models(run.get("settings", {}))) or "none",
            "prompts": ", ".join(_prompts(run.get("settings", {}))) or "none",
            "code_version": run.get("code_version", "unknown"),
            "fingerprint": run.get("fingerprint", ""),
            "settings": json.dumps(run.get("settings", {}), indent=2, ensure_ascii=False),
        }
        for table, run in runs.items()
    ]
    made = [said for table, said in _GENERATED.items() if runs.get(table, {}).get("stage") == table]
    rows = about["rows"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701  Markdown
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        title=title,
        synthetic=synthetic or any(run.get("stage") == DRAWN for run in runs.values()),
        size=next((name for limit, name in _SIZES if rows["images"] < limit), "n>1T"),
        rows={table: rows.get(table, 0) for table in ("images", *_GENERATED)},
        generated=_listed(made),
        stages=stages,
    )


def _listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _models(settings: Mapping[str, Any]) -> Iterator[str]:
    """Names of models anywhere in the settings, with their revisions."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _models(value)
        elif key in _MODEL_KEYS and isinstance(value, str) and value:
            revision = settings.get("revision") if key != "spacy_model" else None
            yield f"`{value}`" + (f" @ `{revision}`" if revision else "")


def _prompts(settings: Mapping[str, Any]) -> Iterator[str]:
    """Prompts anywhere in the settings: name, version, hash."""
    for value in settings.values():
        if isinstance(value, Mapping):
            if {"name", "version", "hash"} <= set(value):
                yield f"{value['name']} v{value['version']} (`{value['hash']}`)"
            else:
                yield from _prompts(value)
