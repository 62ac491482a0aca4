"""What is left to do: whole shards, single rows, limits over shards of unknown size."""

import numpy as np
import pytest

from datagen.dataset import CaptionRow, Dataset, ErrorRow, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.runner.plan import PARTIAL, make_plan
from datagen.stage import Item, Stage

SIZES = [4, 4, 2]


class Stub(Stage[Item]):
    name, source, output, key = "captions", Table.IMAGES, Table.CAPTIONS, "image_id"
    lineage = Lineage(stage="captions", settings={})

    def __init__(self, known: bool = True) -> None:
        self.known = known

    def expected_rows(self, dataset, shards):
        return super().expected_rows(dataset, shards) if self.known else [-1] * len(shards)

    def read(self, dataset, shard):
        raise NotImplementedError

    async def process(self, item):
        raise NotImplementedError


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    dataset = Dataset(str(tmp_path))
    for shard, size in enumerate(SIZES):
        rows = [
            ImageRow(
                image_id=f"{shard}-{n}", uri=str(n), bytes=b"", width=1, height=1,
                format="PNG", phash="",
            )
            for n in range(size)
        ]  # fmt: skip
        dataset.commit(Table.IMAGES, shard, rows, lineage=Lineage(stage="images", settings={}),
                       rows_in=size)  # fmt: skip
    return dataset


def caption(dataset: Dataset, shard: int, rows: int, dead: int = 0) -> None:
    done = [
        CaptionRow(
            image_id=f"{shard}-{n}", long="l", short="s", long_finish_reason="stop",
            short_finish_reason="stop", prompt_tokens=1, long_tokens=1, short_tokens=1,
        )
        for n in range(rows)
    ]  # fmt: skip
    errors = [
        ErrorRow(id=f"{shard}-{rows + n}", stage="captions", error="E", message="m", attempts=1)
        for n in range(dead)
    ]
    dataset.commit(
        Table.CAPTIONS, shard, done, lineage=Stub.lineage, rows_in=rows + dead, errors=errors
    )


def tasks(dataset: Dataset, limit=None, retry=False, known=True):
    plan = make_plan(Stub(known), dataset, dataset, limit, retry)
    return [(t.shard, t.rows, t.there) for t in plan.tasks()], plan.rows()


def test_all_of_a_new_run(dataset):
    assert tasks(dataset) == ([(0, None, False), (1, None, False), (2, None, False)], 10)


def test_only_what_lacks(dataset):
    caption(dataset, 1, 4)
    assert tasks(dataset) == ([(0, None, False), (2, None, False)], 6)


def test_a_shard_whose_source_has_grown_is_done_again_in_part(dataset):
    caption(dataset, 1, 3)
    assert tasks(dataset) == ([(0, None, False), (1, None, True), (2, None, False)], 7)


def test_dead_letters_wait_for_a_retry(dataset):
    for shard, size in enumerate(SIZES):
        caption(dataset, shard, size - 1, dead=1) if shard else caption(dataset, shard, size)
    assert tasks(dataset) == ([], 0)
    assert tasks(dataset, retry=True) == ([(1, None, True), (2, None, True)], 2)


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [
        (3, [(0, 3, False)]),
        (4, [(0, None, False)]),
        (6, [(0, None, False), (1, 2, False)]),
        (99, [(0, None, False), (1, None, False), (2, None, False)]),
    ],
)
def test_a_limit_counts_rows_from_the_first(dataset, limit, wanted):
    assert tasks(dataset, limit=limit)[0] == wanted


def test_a_limit_that_is_reached_leaves_nothing_to_do(dataset):
    caption(dataset, 0, 3)
    assert tasks(dataset, limit=3) == ([], 0)
    assert tasks(dataset)[0] == [(0, None, True), (1, None, False), (2, None, False)]


def test_of_shards_of_unknown_size_the_first_may_take_all_of_a_limit(dataset):
    assert tasks(dataset, limit=3, known=False)[0] == [(0, 3, False)]
    assert tasks(dataset, known=False) == (
        [(0, None, False), (1, None, False), (2, None, False)],
        None,
    )


def test_of_shards_of_unknown_size_a_limited_run_marks_the_unfinished(dataset):
    caption(dataset, 0, 3)
    dataset.write_json(f"captions/{PARTIAL}", {"shards": [0]})
    assert tasks(dataset, limit=3, known=False)[0] == []
    assert tasks(dataset, known=False)[0][0] == (0, None, True)


def test_counts_come_from_the_index_and_else_from_the_shards(dataset):
    counts = dataset.counts(Table.IMAGES, [0, 1, 2])
    assert counts.rows.tolist() == SIZES
    dataset.save_counts(Table.IMAGES, counts.where(np.array([True, False, True])))
    assert dataset.counts(Table.IMAGES, [0, 1, 2]).rows_in.tolist() == SIZES
