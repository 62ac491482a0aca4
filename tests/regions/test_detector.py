"""The detector on the small world's model, and on random weights of the plain Grounding DINO."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import datagen.demo
from datagen.demo.draw import draw
from datagen.demo.language import phrase_of
from datagen.demo.world import make_scene
from datagen.engines.errors import ModelNotFoundError
from datagen.regions.boxes import iou
from datagen.regions.detector import TransformersDetector
from datagen.regions.prompt_text import candidates

MODEL = Path(datagen.demo.__file__).parent / "models" / "detector"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def detector():
    return TransformersDetector(str(MODEL), device="cpu")


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    """A plain Grounding DINO with random weights and the small world's processor."""
    from transformers import (
        AutoProcessor,
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    torch.manual_seed(0)
    processor = AutoProcessor.from_pretrained(MODEL)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=128, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4,
            out_features=["stage2"],
        ),
        text_config=BertConfig(
            vocab_size=len(processor.tokenizer), hidden_size=32, num_hidden_layers=1,
            num_attention_heads=2, intermediate_size=64,
        ),
        d_model=32, num_feature_levels=2, num_queries=20, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=4,
        decoder_attention_heads=4,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("plain")
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def scenes_and_phrases(count):
    scenes = [make_scene("tiny-test", index) for index in range(count)]
    images = [draw(scene) for scene in scenes]
    return scenes, images, [[phrase_of(what) for what in scene.objects] for scene in scenes]


def assert_same(found, wanted):
    assert [len(f) for f in found] == [len(w) for w in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.score == pytest.approx(b.score, abs=1e-4)
        # Equal scores may change places, so boxes are compared as sets.
        for a in ours:
            assert any(
                a.phrase_index == b.phrase_index and iou(a.bbox, b.bbox) > 0.999 for b in theirs
            )


def test_finds_the_objects_of_a_scene(detector):
    scenes, images, phrases = scenes_and_phrases(4)
    right = 0
    for scene, detections in zip(scenes, detector.detect(images, phrases), strict=True):
        assert [d.score for d in detections] == sorted((d.score for d in detections), reverse=True)
        for position, what in enumerate(scene.objects):
            best = next((d for d in detections if d.phrase_index == position), None)
            right += best is not None and iou(best.bbox, what.bbox) > 0.5
    assert right >= 0.7 * sum(len(scene.objects) for scene in scenes)


def test_candidates_have_a_place_in_the_image_and_are_above_the_floor():
    low = TransformersDetector(str(MODEL), device="cpu", floor=0.01)
    high = TransformersDetector(str(MODEL), device="cpu", floor=0.3)
    _, images, phrases = scenes_and_phrases(2)
    for many, few in zip(low.detect(images, phrases), high.detect(images, phrases), strict=True):
        assert few == [d for d in many if d.score >= 0.3]
        for d in many:
            assert d.bbox[0] < d.bbox[2] and d.bbox[1] < d.bbox[3]
            assert d.bbox[0] < 1 and d.bbox[1] < 1 and d.bbox[2] > 0 and d.bbox[3] > 0
            assert 0.01 <= d.score <= 1


def test_a_batch_gives_what_single_images_give(detector):
    _, images, phrases = scenes_and_phrases(4)
    images[1] = images[1].resize((256, 160))  # another shape, and texts of different lengths
    phrases[2] = phrases[2][:1]
    phrases[3] = []
    together = detector.detect(images, phrases)
    alone = [detector.detect([i], [p])[0] for i, p in zip(images, phrases, strict=True)]
    assert together[3] == []
    assert_same(together, alone)


def test_the_plain_grounding_dino_works_too(plain_folder):
    plain = TransformersDetector(str(plain_folder), device="cpu", floor=0.0)
    _, images, phrases = scenes_and_phrases(3)
    phrases[1] = phrases[1][:1]
    together = plain.detect(images, phrases)
    assert all(together)
    assert_same(together, [plain.detect([i], [p])[0] for i, p in zip(images, phrases, strict=True)])


def test_a_long_list_of_phrases_is_split_over_texts(detector):
    scene = make_scene("tiny-test", 0)
    own = [phrase_of(what) for what in scene.objects]
    absent = [f"a large {c} kite" for c in ("red", "blue", "green", "black")] * 20
    phrases = [*absent, *own]  # far more than 256 tokens; the true ones come last
    assert len(list(detector._texts(phrases))) > 1
    found = detector.detect([draw(scene)], [phrases])[0]
    assert all(0 <= d.phrase_index < len(phrases) for d in found)
    true = [d for d in found if d.phrase_index >= len(absent) and d.score > 0.3]
    assert {d.phrase_index for d in true}
    small = TransformersDetector(str(MODEL), device="cpu", max_text_tokens=9)
    assert [len(t.phrase_indices) for t in small._texts(own)] == [1] * len(own)
    assert small.detect([draw(scene)], [own])[0]


def test_the_score_is_the_mean_over_the_words_of_a_phrase(detector):
    (text,) = detector._texts(["A red mug!", "a St. Bernard", "...", "fish"])
    chances = np.zeros((2, len(text.ids)), dtype=np.float32)
    chances[1, list(text.spans[0])] = (0.1, 0.9, 0.8)
    chances[1, text.spans[0][-1] + 1] = 1  # the "!" is no word
    boxes = np.array([[0.5, 0.5, 1, 1], [0.5, 0.4, 0.2, 0.4]], dtype=np.float32)
    ((phrase, box, score),) = candidates(chances, boxes, text, 0.05)
    assert (phrase, score) == (0, pytest.approx(0.6))
    assert box == pytest.approx((0.4, 0.2, 0.6, 0.6))
    tokens = detector._processor.tokenizer.convert_ids_to_tokens(list(text.ids))
    assert text.phrase_indices == (0, 1, 3)  # "..." has no word
    words = [[tokens[i] for i in span] for span in text.spans]
    assert words[0] == ["a", "red", "mug"] and words[2] == ["fish"]
    assert tokens.count(".") == 3  # the one of "St." would have cut the phrase in two


def test_grey_and_transparent_pictures_are_taken(detector):
    scene = make_scene("tiny-test", 1)
    phrases = [[phrase_of(what) for what in scene.objects]] * 2
    found = detector.detect([draw(scene).convert("L"), draw(scene).convert("RGBA")], phrases)
    assert len(found) == 2


def test_mistakes_are_named(detector, tmp_path):
    with pytest.raises(ModelNotFoundError, match="There is no detector"):
        TransformersDetector(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelNotFoundError, match="'bert'"):
        TransformersDetector(str(tmp_path))
    with pytest.raises(ValueError, match="1 images came with 0 lists"):
        detector.detect([Image.new("RGB", (64, 64))], [])
