import json

import numpy as np
import pytest
from PIL import Image

from datagen.demo.truth_tables import write_truth_dataset
from datagen.evaluation import controls, region_negatives, retrieval
from datagen.evaluation.fgovd import read_fgovd
from datagen.evaluation.items import EvaluationError, Picture, RegionItem, read_dataset
from datagen.evaluation.result import Result, write_results

BOX = (0.0, 0.0, 0.5, 0.5)
WORDS = ["red", "blue", "green", "mug", "bird"]


class BagOfWords:
    """Texts by their words; a picture by the word that its first pixel stands for."""

    def encode_texts(self, texts, *, long):
        found = np.array([[float(w in t.split()) for w in WORDS] for t in texts], np.float32)
        return found / np.maximum(1e-9, np.linalg.norm(found, axis=1, keepdims=True))

    def encode_images(self, pictures, boxes):
        seen = np.eye(len(WORDS), dtype=np.float32)[[p.getpixel((0, 0))[0] for p in pictures]]
        return seen, [np.repeat(s[None], len(b), 0) for s, b in zip(seen, boxes, strict=True)]


def picture(name, word, items=(), caption=""):
    image = Image.new("RGB", (4, 4), (WORDS.index(word), 0, 0))
    found = tuple(
        RegionItem(
            image_id=name, box=BOX, positive=p, negatives=tuple(n), types=("colour",) * len(n)
        )
        for p, n in items
    )
    return Picture(image_id=name, image=image, items=found, long=caption, short=caption)


def test_an_item_is_right_when_its_own_phrase_scores_highest():
    pictures = [
        picture("a", "red", [("red mug", ["blue mug", "green mug"]), ("blue mug", ["red mug"])]),
        picture("b", "blue", [("blue bird", ["red bird"])]),
    ]
    result, items = region_negatives.evaluate(BagOfWords(), pictures)
    assert (result.value, result.n) == (pytest.approx(2 / 3), 3)
    assert result.chance == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert result.details["pairwise_colour"] == pytest.approx(3 / 4)
    assert [item.positive for item in items] == ["red mug", "blue mug", "blue bird"]


def test_a_positive_among_its_negatives_is_taken_out_and_counted():
    items = [("red mug", ["red mug", "blue mug"]), ("red bird", ["red bird"]), ("mug", [])]
    result, kept = region_negatives.evaluate(BagOfWords(), [picture("a", "red", items)])
    assert (result.n, result.value, result.chance) == (1, 1.0, 0.5)
    assert kept[0].negatives == ("blue mug",)
    assert result.details["positive_among_negatives"] == 2
    assert result.details["without_negatives"] == 2


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(EvaluationError, match="negatives"):
        region_negatives.evaluate(BagOfWords(), [picture("a", "red")])
    with pytest.raises(EvaluationError, match="caption"):
        retrieval.evaluate(BagOfWords(), [picture("a", "red")], captions="short")


def test_retrieval_finds_the_caption_of_each_picture():
    pictures = [picture(word, word, caption=word) for word in WORDS]
    pictures.append(picture("twin", "red", caption="red"))  # two pictures, one caption: a tie
    found = {r.metric: r for r in retrieval.evaluate(BagOfWords(), pictures, captions="short")}
    assert found["i2t_r1"].value == pytest.approx(4 / 6)
    assert found["t2i_r5"].value == 1
    assert found["i2t_r1"].chance == pytest.approx(1 / 6)


def items_for_control(tell, count=60):
    random = np.random.default_rng(0)
    items = []
    for i in range(count):
        colours = list(random.permutation(["red", "blue", "green", "pink"]))
        if tell:
            colours.remove("red")
            colours.insert(0, "red")  # the positive is always red: text alone knows
        phrases = [f"a {colour} mug" for colour in colours]
        items.append(
            RegionItem(
                image_id=str(i // 2), box=BOX, positive=phrases[0], negatives=tuple(phrases[1:])
            )
        )
    return items


def test_the_text_only_control_finds_a_tell_and_only_that():
    assert controls.text_only(items_for_control(tell=True)).value == 1
    fair = controls.text_only(items_for_control(tell=False, count=200))
    assert fair.chance == 0.25
    assert fair.value == pytest.approx(0.25, abs=0.1)
    with pytest.raises(EvaluationError, match="two images"):
        controls.text_only(items_for_control(tell=True)[:2])


def test_the_small_worlds_evaluation_set_gives_nothing_away_to_text(tmp_path):
    dataset = write_truth_dataset(str(tmp_path / "set"), "tiny-test", 120, size=32)
    pictures = list(read_dataset(dataset))
    items = [item for picture in pictures for item in picture.items]
    assert len(pictures) == 120 and all(len(item.negatives) == 10 for item in items)
    assert all(item.positive not in item.negatives for item in items)
    control = controls.text_only(items)
    assert control.chance == pytest.approx(1 / 11)
    assert control.value < 0.16


def test_fgovd_lines_become_items_with_normalised_boxes(tmp_path):
    Image.new("RGB", (40, 20)).save(tmp_path / "photo.png")
    record = {
        "img_path": "photo.png", "bbox": [10, 5, 20, 10], "pos_expression": ["a red mug"],
        "neg_expression": ["a blue mug"], "width": 40, "height": 20,
    }  # fmt: skip
    lines = tmp_path / "hard.jsonl"
    lines.write_text(json.dumps(record) + "\n" + json.dumps(record) + "\n")
    (found,) = read_fgovd(lines, tmp_path)
    assert len(found.items) == 2
    assert found.items[0].box == (0.25, 0.25, 0.75, 0.75)
    assert found.items[0].positive == "a red mug"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Line 1"),
        ('{"img_path": "gone.png"}', "no field bbox; it has: img_path"),
        ("", "no items"),
    ],
)
def test_bad_annotations_are_named(tmp_path, text, says):
    lines = tmp_path / "hard.jsonl"
    lines.write_text(text)
    with pytest.raises(EvaluationError, match=says):
        list(read_fgovd(lines, tmp_path))


def test_results_are_written_as_json(tmp_path):
    result = Result(benchmark="b", metric="top1", value=0.5, n=2, chance=0.1)
    write_results(tmp_path / "out" / "results.json", [result], "model")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["model"] == "model" and found["results"][0]["value"] == 0.5
