"""The experiment's machinery on a handful of scenes; what it finds is measured by the demo."""

import pytest

from datagen.demo.experiment import run_experiment
from datagen.demo.truth_tables import write_truth_dataset
from datagen.training.loop import TrainingError

RECIPE = """
model: {image_size: 32, vision_width: 32, vision_layers: 2, vision_heads: 2, text_width: 32,
        text_layers: 1, text_heads: 2, embedding: 16, vocab_size: 400}
optim: {batch_size: 8, epochs: 1, warmup_steps: 1}
"""


def test_three_runs_make_three_rows_and_are_not_repeated(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    write_truth_dataset(str(tmp_path / "data"), "tiny-train", 16)
    again = {"recipe": tmp_path / "recipe.yaml", "split": "tiny-test", "scenes": 12}
    rows = run_experiment(tmp_path / "data", tmp_path / "out", **again)
    assert [row["run"] for row in rows] == ["global", "regions", "hard"]
    assert all(row["chance"] == pytest.approx(1 / 11, abs=1e-4) for row in rows)
    assert len({row["text_only"] for row in rows}) == 1  # it does not depend on the model
    assert {"region_accuracy", "pairwise_colour", "retrieval_long_i2t_r1"} <= rows[0].keys()
    assert "hard" in capsys.readouterr().out
    model = tmp_path / "out" / "models" / "hard" / "model" / "model.safetensors"
    written = model.stat().st_mtime_ns
    assert run_experiment(tmp_path / "data", tmp_path / "out", **again) == rows
    assert model.stat().st_mtime_ns == written
    write_truth_dataset(str(tmp_path / "other"), "tiny-train", 16, first=50)
    with pytest.raises(TrainingError, match="another configuration"):
        run_experiment(tmp_path / "other", tmp_path / "out", **again)
