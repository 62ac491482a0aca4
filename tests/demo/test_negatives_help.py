"""The experiment on a handful of scenes; what it finds is in docs/quality-negatives.md."""

import json
from collections import Counter
from pathlib import Path

import pytest

from datagen.dataset import Dataset, Table
from datagen.demo.negatives_help import VARIANTS, run, table, write_variants
from datagen.demo.truth_tables import write_truth_dataset

RECIPE = """
model: {image_size: 32, vision_width: 32, vision_layers: 2, vision_heads: 2, text_width: 32,
        text_layers: 1, text_heads: 2, embedding: 16, vocab_size: 400}
optim: {batch_size: 8, epochs: 1, warmup_steps: 1}
"""
SCENES = 16
NO_MODEL = Path("no-model")


@pytest.fixture
def output(tmp_path):
    """A folder in which the LLM has answered already."""
    truth = write_truth_dataset(str(tmp_path / "truth"), "demo-train", SCENES, skewed=True)
    phrases = {row.phrase for row in truth.read_rows(Table.REGIONS, 0)}
    answers = {p: [p, p.replace("a ", "the ", 1), f"{p} in red", f"{p} in blue"] for p in phrases}
    (tmp_path / "free.json").write_text(json.dumps(answers))
    return tmp_path


def test_datasets_differ_in_their_negatives_alone_and_have_equally_many(output):
    datasets = write_variants(output, NO_MODEL, SCENES)
    negatives = {}
    for name, dataset in datasets.items():
        negatives[name] = list(dataset.read_rows(Table.NEGATIVES, 0))
        for same in (Table.CAPTIONS, Table.REGIONS):
            rows = list(dataset.read_rows(same, 0))
            assert rows == list(datasets["none"].read_rows(same, 0))
    counts = {n: sum(len(row.negatives) for row in negatives[n]) for n in VARIANTS[1:]}
    assert len(set(counts.values())) == 1
    assert counts["free"] > 0
    free = [n.text for row in negatives["free"] for n in row.negatives]
    assert all(text.endswith((" in red", " in blue")) for text in free)  # neither copies nor "the"
    for row in negatives["balanced"]:
        assert all(_words_changed(row.positive, n.text) == 1 for n in row.negatives)


def test_every_training_is_a_row_and_none_is_repeated(output, capsys):
    (output / "recipe.yaml").write_text(RECIPE)
    arguments = {"seeds": 1, "recipe": output / "recipe.yaml", "scenes": (SCENES, 12)}
    one = run(output, NO_MODEL, only="free-0", **arguments)
    assert [row["run"] for row in one] == ["free-0"]
    rows = run(output, NO_MODEL, only="", **arguments)
    assert Counter(str(row["run"])[:-2] for row in rows) == dict.fromkeys(VARIANTS, 1)
    assert one[0] in rows
    shown = capsys.readouterr().out
    assert "| balanced | " in shown
    assert "±" in shown


def test_the_table_shows_mean_and_spread(output):
    datasets = {name: Dataset(str(output / "truth")) for name in VARIANTS}
    rows = [
        {"run": f"{name}-{seed}", "region_accuracy": 0.4 + 0.02 * seed, "pairwise_colour": 1.0,
         "pairwise_finish": 0.5, "pairwise_size": 0.5}
        for name in VARIANTS for seed in range(3)
    ]  # fmt: skip
    assert "| free | 10.0 | 42.0 ± 2.0 | 100.0 ± 0.0 | 50.0 ± 0.0 | 50.0 ± 0.0 |" in table(
        rows, datasets
    )


def _words_changed(one, other):
    """Words that differ, the article aside."""
    pairs = zip(one.split()[1:], other.split()[1:], strict=True)
    return sum(a != b for a, b in pairs)
