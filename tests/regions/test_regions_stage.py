import asyncio
import io

import pytest
from PIL import Image

from datagen.dataset import CaptionRow, Dataset, DatasetError, GroundingRow, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.images.decode import ImageError
from datagen.regions import backends
from datagen.regions.boxes import Detection
from datagen.regions.stage import CaptionedImage, RegionsConfig, RegionsStage

CONFIG = RegionsConfig(detector="some/model")
CAPTION = "There is a red mug and a blue chair. The background is beige."


class OneBoxEach:
    """A detector that puts the phrases beside each other, sure of the first and not of others."""

    def __init__(self, model, revision=None, device=None):
        pass

    def detect(self, images, phrases):
        return [
            [
                Detection(i, (i / 4, 0.0, (i + 1) / 4, 0.5), 0.9 if i == 0 else 0.1)
                for i in range(len(names))
            ]
            for names in phrases
        ]


def png(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def image(name):
    return ImageRow(
        image_id=name, uri=name, bytes=png(name), width=8, height=8, format="PNG", phash=""
    )


def caption(name):
    return CaptionRow(
        image_id=name,
        long=CAPTION,
        short="",
        long_finish_reason="stop",
        short_finish_reason="stop",
        prompt_tokens=1,
        long_tokens=1,
        short_tokens=1,
    )


def dataset_of(path, images, captions):
    dataset = Dataset(str(path))
    lineage = Lineage(stage="test", settings={})
    dataset.commit(Table.IMAGES, 0, map(image, images), lineage=lineage, rows_in=len(images))
    dataset.commit(Table.CAPTIONS, 0, map(caption, captions), lineage=lineage, rows_in=1)
    return dataset


def process(item, config=CONFIG):
    async def run():
        stage = RegionsStage(config)
        await stage.open()
        try:
            return await stage.process(item)
        finally:
            await stage.close()

    return asyncio.run(run())


def test_captions_find_their_images_where_some_have_none(tmp_path):
    dataset = dataset_of(tmp_path, ["red", "green", "blue", "white"], ["green", "white"])
    items = list(RegionsStage(CONFIG).read(dataset, 0))
    assert [(item.id, item.data) for item in items] == [
        ("green", png("green")),
        ("white", png("white")),
    ]


def test_captions_of_other_images_are_refused(tmp_path):
    dataset = dataset_of(tmp_path, ["red", "green"], ["blue"])
    with pytest.raises(DatasetError, match="caption of image blue"):
        list(RegionsStage(CONFIG).read(dataset, 0))


def test_rows_carry_phrase_span_and_sentence(monkeypatch):
    monkeypatch.setattr(backends, "TransformersDetector", OneBoxEach)
    item = CaptionedImage("an id", png("red"), CAPTION)
    row, grounding = process(item)
    assert row.phrase == "a red mug" == CAPTION[row.span_start : row.span_end]
    assert row.description == "There is a red mug and a blue chair."
    assert row.bbox == (0.0, 0.0, 0.25, 0.5)
    assert row.score == pytest.approx(0.9)
    assert len(row.region_id) == 32
    assert row.region_id == process(item)[0].region_id
    assert (row.area, row.margin) == (0.125, pytest.approx(0.9))
    assert (row.grounded, row.description_from) == (0.5, "sentence")
    assert isinstance(grounding, GroundingRow)
    assert [(p.text, p.grounded) for p in grounding.phrases] == [
        ("a red mug", True),
        ("a blue chair", False),
    ]
    assert (grounding.image_id, grounding.grounded) == ("an id", 0.5)
    assert grounding.long == CAPTION
    low = RegionsConfig(detector="some/model", threshold=0.05)
    assert [r.phrase for r in process(item, low)[:-1]] == ["a red mug", "a blue chair"]


def test_an_image_that_is_none_is_an_error_of_the_row(monkeypatch):
    monkeypatch.setattr(backends, "TransformersDetector", OneBoxEach)
    with pytest.raises(ImageError):
        process(CaptionedImage("an id", b"no image", CAPTION))


def test_a_caption_that_names_nothing_has_no_regions(monkeypatch):
    monkeypatch.setattr(backends, "TransformersDetector", OneBoxEach)
    assert process(CaptionedImage("an id", png("red"), "It is calm.")) == [
        GroundingRow(image_id="an id", grounded=None, phrases=[], long="It is calm.")
    ]


def test_sentences_without_a_box_are_dropped_where_the_run_asks(monkeypatch):
    monkeypatch.setattr(backends, "TransformersDetector", OneBoxEach)
    caption = "There is a red mug. There is a blue chair."
    item = CaptionedImage("an id", png("red"), caption)
    config = RegionsConfig(detector="some/model", drop_ungrounded=0.5)
    row, grounding = process(item, config)
    assert grounding.long == "There is a red mug."
    assert grounding.dropped == ["There is a blue chair."]
    assert caption[row.span_start : row.span_end] == "a red mug"
    assert RegionsStage(config).lineage.fingerprint != RegionsStage(CONFIG).lineage.fingerprint


def test_speed_is_no_part_of_the_lineage():
    base = RegionsStage(CONFIG).lineage.fingerprint
    faster = RegionsConfig(detector="some/model", batch=64, device="cuda")
    other = RegionsConfig(detector="some/model", threshold=0.3)
    assert base == RegionsStage(faster).lineage.fingerprint
    assert base != RegionsStage(other).lineage.fingerprint
