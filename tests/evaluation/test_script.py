import json
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from datagen.command import command, load_recipe
from datagen.dataset import Dataset, Table
from datagen.demo.truth_tables import write_truth_dataset
from datagen.errors import UserError
from datagen.evaluation.benchmark import NAMES, find
from datagen.evaluation.items import EvaluationError
from datagen.training.config import ModelConfig, OptimConfig, TrainConfig
from datagen.training.encoder import ModelEncoder
from datagen.training.loop import train
from pipelines.evaluate import Config, evaluate, main

SIZES = ModelConfig(
    image_size=32, vision_width=32, vision_layers=2, vision_heads=2, text_width=32, text_layers=1,
    text_heads=2, embedding=16, vocab_size=400,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    data = write_truth_dataset(str(root / "data"), "tiny-test", 16)
    optim = OptimConfig(batch_size=8, warmup_steps=1)
    train(TrainConfig(data=data.root, output=str(root / "run"), model=SIZES, optim=optim))
    return data.root, root / "run"


def test_a_run_is_evaluated_on_tables_with_its_control_beside(trained):
    data, run = trained
    main(Config(model=str(run), data=data))
    written = json.loads((run / "evaluation.json").read_text())
    found = {(r["benchmark"], r["metric"]): r for r in written["results"]}
    assert found["region_negatives", "top1"]["chance"] == pytest.approx(1 / 11)
    assert ("region_negatives", "text_only_top1") in found
    assert ("retrieval_long", "i2t_r10") in found and ("retrieval_short", "t2i_r1") in found
    settings = found["region_negatives", "top1"]["settings"]
    assert (settings["resize"], settings["interpolation"]) == ("stretch", "bicubic")
    assert (settings["image_size"], settings["regions"]) == (32, "dense")
    assert settings["ties"] == "shared" and settings["text_positions"] == "short"


def test_a_second_run_encodes_nothing_and_finds_the_same(trained, tmp_path, monkeypatch):
    data, run = trained
    config = Config(model=str(run), data=data, controls=False, cache=str(tmp_path))
    seen = []
    encode = ModelEncoder.encode_images

    def counted(self, pictures, boxes):
        seen.extend(pictures)
        return encode(self, pictures, boxes)

    monkeypatch.setattr(ModelEncoder, "encode_images", counted)
    (first,) = evaluate(config).values()
    assert len(seen) == 16  # once, though regions, long and short captions are asked for
    monkeypatch.delattr(ModelEncoder, "encode_images")
    monkeypatch.delattr(ModelEncoder, "encode_texts")
    (second,) = evaluate(config).values()
    assert second.results == first.results
    with pytest.raises(AttributeError):  # another resize makes other embeddings
        evaluate(replace(config, interpolation="bilinear"))


def test_a_model_from_a_hub_is_not_hidden_by_a_folder_of_its_name(trained, tmp_path, monkeypatch):
    data, run = trained
    monkeypatch.chdir(tmp_path)

    def load(config):
        assert not list(tmp_path.iterdir())  # as the hub's name is looked for here first
        return ModelEncoder.load(run)

    monkeypatch.setattr("pipelines.evaluate._encoder", load)
    config = Config(model="owner/model", data=str(data), controls=False)
    main(config)
    assert {path.name for path in (tmp_path / "owner--model").iterdir()} == {
        "evaluation.cache", "evaluation.json", "evaluation.md", "evaluation.parquet",
    }  # fmt: skip
    assert not (tmp_path / "owner").exists()
    with pytest.raises(EvaluationError, match="There is no file of items"):
        main(replace(config, against="none.parquet"))


def test_dense_regions_of_a_cut_picture_are_refused(trained):
    data, run = trained
    config = Config(model=str(run), data=data, controls=False, cache="none", resize="crop")
    with pytest.raises(UserError, match="--regions crop"):
        evaluate(config)
    (found,) = evaluate(replace(config, regions="crop")).values()
    assert found.results[0].settings["resize"] == found.results[0].settings["regions"] == "crop"


def test_tables_and_fgovd_lines_of_the_same_items_score_the_same(trained, tmp_path):
    data, run = trained
    dataset = Dataset(data)
    for image in dataset.read_rows(Table.IMAGES, 0):
        (tmp_path / f"{image.image_id}.jpg").write_bytes(image.bytes)
    boxes = {row.region_id: row.bbox for row in dataset.read_rows(Table.REGIONS, 0)}
    lines = []
    for row in dataset.read_rows(Table.NEGATIVES, 0):
        x1, y1, x2, y2 = (128 * value for value in boxes[row.region_id])
        record = {
            "img_path": f"{row.image_id}.jpg", "bbox": [x1, y1, x2 - x1, y2 - y1],
            "pos_expression": [row.positive], "neg_expression": [n.text for n in row.negatives],
        }  # fmt: skip
        lines.append(json.dumps(record))
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    annotations = Config(
        model=str(run), annotations=str(tmp_path / "items.jsonl"), images=str(tmp_path)
    )
    (ours,) = evaluate(Config(model=str(run), data=data, controls=False)).values()
    (theirs,) = evaluate(annotations).values()
    assert (theirs.results[0].value, theirs.results[0].n) == (
        ours.results[0].value,
        ours.results[0].n,
    )


def test_several_benchmarks_by_a_recipe_with_items_table_and_comparison(trained, tmp_path):
    data, run = trained
    dataset = Dataset(data)
    image = next(iter(dataset.read_rows(Table.IMAGES, 0)))
    (tmp_path / "a.jpg").write_bytes(image.bytes)
    record = {
        "img_path": "a.jpg", "bbox": [0, 0, 20, 20], "pos_expression": ["a red box"],
        "neg_expression": ["a blue box"],
    }  # fmt: skip
    (tmp_path / "hard.jsonl").write_text(json.dumps(record))
    recipe = {
        "model": str(run),
        "controls": False,
        "several": [
            {"benchmark": "tables", "data": data},
            {"benchmark": "fgovd", "annotations": str(tmp_path / "hard.jsonl"),
             "images": str(tmp_path)},
        ],
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    arguments = ["evaluate.py", "--recipe", str(tmp_path / "recipe.yaml"), "--output"]
    for name in ("first", "second"):
        with pytest.MonkeyPatch.context() as patch:
            given = ["--against", str(tmp_path / "first.parquet")] if name == "second" else []
            patch.setattr(sys, "argv", [*arguments, str(tmp_path / f"{name}.json"), *given])
            command(Config, main, "")
    rows = pq.read_table(tmp_path / "first.parquet").to_pylist()
    assert {(row["benchmark"], row["task"]) for row in rows} == {
        ("region_negatives", "negatives"), ("fgovd_hard", "negatives"),
        ("retrieval_long", "i2t"), ("retrieval_long", "t2i"),
        ("retrieval_short", "i2t"), ("retrieval_short", "t2i"),
    }  # fmt: skip
    assert "| FG-CLIP-B | 46.1 |" in (tmp_path / "first.md").read_text()
    results = json.loads((tmp_path / "second.json").read_text())["results"]
    same = [r for r in results if r["metric"].endswith("difference")]
    assert [(r["value"], r["details"]["p_value"]) for r in same] == [(0, 1)] * 6


def test_no_source_or_two_sources_are_refused(trained):
    with pytest.raises(EvaluationError, match="--data"):
        evaluate(Config(model=str(trained[1])))
    with pytest.raises(EvaluationError, match="--data"):
        evaluate(Config(model=str(trained[1]), data="d", annotations="a"))


def test_the_shipped_recipe_has_every_benchmark():
    recipe = Path(__file__).parents[2] / "pipelines" / "recipes" / "gpu" / "evaluate.yaml"
    runs = load_recipe(recipe, Config).several
    assert {run.benchmark for run in runs} == set(NAMES)
    assert all(callable(find(name).run) for name in NAMES)
