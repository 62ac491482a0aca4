import numpy as np
import pyarrow.parquet as pq
import pytest

from datagen.evaluation.item_rows import ItemRow, nearest_others
from datagen.evaluation.item_scores import compare, write_items
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.kinds import box_size, changed_kind
from datagen.evaluation.published import markdown, published
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval, paired_test


def test_an_interval_over_images_is_wider_than_one_over_items():
    random = np.random.default_rng(0)
    values = np.repeat(random.integers(2, size=40), 10).astype(float)  # images all right or wrong
    grouped = bootstrap_interval(values, [str(i // 10) for i in range(400)])
    alone = bootstrap_interval(values, [str(i) for i in range(400)])
    assert grouped[0] < values.mean() < grouped[1]
    assert grouped[1] - grouped[0] > 2 * (alone[1] - alone[0])


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    random, held = np.random.default_rng(1), 0
    for trial in range(200):
        low, high = bootstrap_interval(
            (random.random(100) < 0.3).astype(float), list(map(str, range(100))),
            samples=300, seed=trial,
        )  # fmt: skip
        held += low <= 0.3 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_the_paired_test_tells_a_difference_from_none():
    random = np.random.default_rng(0)
    images = [str(i // 2) for i in range(400)]
    base = (random.random(400) < 0.5).astype(float)
    better = np.maximum(base, random.random(400) < 0.1)
    assert paired_test(better, base, images) < 0.001
    assert paired_test(base, base, images) == 1
    chances = [
        paired_test(random.random(60) < 0.5, random.random(60) < 0.5, list(map(str, range(60))))
        for _ in range(100)
    ]
    assert np.mean(np.array(chances) < 0.05) < 0.12


def row(name, credit, task="negatives", **given):
    given = {"benchmark": "b", "positive": "a", "negatives": ("b",)} | given
    return ItemRow(task=task, image_id=name, scores=[0.5, 0.25], credit=credit, **given)


def test_items_are_written_one_a_row_and_compared(tmp_path):
    ours, theirs = tmp_path / "ours.parquet", tmp_path / "theirs.parquet"
    write_items(ours, [row("1", 1.0), row("2", 1.0), row("3", 0.0)])
    write_items(theirs, [row("2", 0.0), row("1", 1.0)])
    rows = pq.read_table(ours).to_pylist()
    assert [found["credit"] for found in rows] == [1, 1, 0] and rows[0]["scores"] == [0.5, 0.25]
    (found,) = compare(ours, theirs)
    assert (found.n, found.value) == (2, 0.5)
    assert found.details["only_first_right"] == 1 and 0 < found.details["p_value"] <= 1
    write_items(theirs, [row("1", 1.0, benchmark="other")])
    with pytest.raises(EvaluationError, match="no items in common"):
        compare(ours, theirs)
    with pytest.raises(EvaluationError, match="no file of items"):
        compare(ours, tmp_path / "gone.parquet")


def test_items_of_retrieval_are_the_same_whatever_each_model_found_nearest(tmp_path):
    ours, theirs = tmp_path / "ours.parquet", tmp_path / "theirs.parquet"
    write_items(
        ours, [row("1", 1.0, "i2t"), row("1", 1.0, "t2i"), row("1", 0.0, "t2i", positive="c")]
    )
    write_items(
        theirs,
        [row("1", 0.0, "i2t", positive="c", negatives=("d",)), row("1", 1.0, "t2i", negatives=())],
    )
    found = {result.metric: result for result in compare(ours, theirs)}
    assert {name: (r.n, r.value) for name, r in found.items()} == {
        "i2t_difference": (1, 1.0), "t2i_difference": (1, 0.0),
    }  # fmt: skip


def test_the_nearest_others_are_the_best_that_are_not_ones_own():
    scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    own = np.array([[False, True, False, True], [True, False, False, False]])
    assert nearest_others(scores, own, 3).tolist() == [[2, 0, -1], [1, 2, 3]]
    assert nearest_others(scores, own, 1).tolist() == [[2], [1]]


@pytest.mark.parametrize(
    ("negative", "kind"),
    [
        ("a blue mug with a white handle", "colour"),
        ("a red mug with a wooden handle", "several"),
        ("a red glass mug with a white handle", "material"),
        ("a red bird with a white handle", "other"),
        ("A red mug with a white handle.", "none"),
    ],
)
def test_the_kind_is_told_from_the_words_that_differ(negative, kind):
    assert changed_kind("a red mug with a white handle", negative) == kind


def test_sizes_are_those_of_coco():
    assert [box_size(side**2) for side in (31, 32, 96, 97)] == [
        "small",
        "medium",
        "medium",
        "large",
    ]


def test_the_table_has_published_scores_beside():
    result = Result(
        benchmark="fgovd_hard",
        metric="top1",
        value=0.461,
        n=3545,
        chance=0.09,
        settings={"regions": "crop", "resize": "stretch", "image_size": 224, "ties": "correct"},
    )
    text = markdown([result, result], "mine")
    assert text.count("- regions crop, resize stretch, image_size 224\n") == 1
    assert "| **mine** | 46.1 |" in text and "| CLIP-B | 12.0 |" in text
    assert "FG-CLIP2-L" in text and "lvis" not in text
    assert published()["SigLIP2-B"]["imagenet_v2 top1"] == 74.5
