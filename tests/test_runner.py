"""The runner on a real Ray: every row in is a row out or a dead letter, and done shards stay."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from datagen.dataset import CaptionRow, Dataset, DatasetError, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.engines.errors import EngineDeadError, ModelNotFoundError
from datagen.runner import RunConfig, StageError, run_stage
from datagen.stage import Item, RowError, Stage

ROWS = 10
RUN = RunConfig(cpus_per_actor=0.5, rows_in_flight=8)


class Echo(Stage[Item]):
    """Captions that repeat the image's id; some ids misbehave."""

    name = "captions"
    source = Table.IMAGES
    output = Table.CAPTIONS
    key = "image_id"

    def __init__(self, marks: Path, model: str = "echo") -> None:
        self.marks, self.model = marks, model

    @property
    def lineage(self) -> Lineage:
        return Lineage(stage=self.name, settings={"model": self.model})

    async def open(self) -> None:
        if self.model == "absent":
            raise ModelNotFoundError("Model not found: absent.")

    def read(self, dataset: Dataset, shard: int) -> Iterator[Item]:
        for batch in dataset.read(Table.IMAGES, shard, ["image_id"]):
            for name in batch["image_id"].to_pylist():
                yield Item(name)

    async def process(self, item: Item) -> list[CaptionRow]:
        if item.id == "0-3":
            raise RowError("the third is bad")
        if item.id == "1-4":
            raise ZeroDivisionError("a defect")
        if item.id == "2-5" and self.model == "dies once" and not (self.marks / "died").exists():
            (self.marks / "died").touch()
            raise EngineDeadError("gone")
        with (self.marks / "calls").open("a") as calls:
            calls.write(item.id + "\n")
        return [
            CaptionRow(
                image_id=item.id,
                long=item.id,
                short=item.id,
                long_finish_reason="stop",
                short_finish_reason="stop",
                prompt_tokens=1,
                long_tokens=1,
                short_tokens=1,
            )
        ]


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    paths = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    dataset = Dataset(str(tmp_path / "data"))
    for shard in range(3):
        rows = [
            ImageRow(
                image_id=f"{shard}-{n}",
                uri="u",
                bytes=b"b",
                width=1,
                height=1,
                format="PNG",
                phash="0",
            )
            for n in range(ROWS)
        ]
        dataset.commit(
            Table.IMAGES,
            shard,
            rows,
            lineage=Lineage(stage="images", settings={}),
            rows_in=ROWS,
        )
    return dataset


def ids(dataset: Dataset) -> list[str]:
    return [
        row.image_id
        for shard in dataset.shards(Table.CAPTIONS)
        for row in dataset.read_rows(Table.CAPTIONS, shard)
    ]


def test_rows_in_are_rows_out_plus_dead_letters(dataset, tmp_path, capfd):
    summary = run_stage(Echo(tmp_path), dataset, RUN)
    assert (summary.rows_in, summary.rows_ok, summary.dead_letters) == (30, 28, 2)
    written = ids(dataset)
    assert len(written) == len(set(written)) == 28
    reasons = {e.id: (e.error, e.message) for s in range(3) for e in dataset.errors("captions", s)}
    assert reasons == {
        "0-3": ("RowError", "the third is bad"),
        "1-4": ("ZeroDivisionError", "unexpected: a defect"),
    }
    assert "30" in capfd.readouterr().out


def test_a_second_run_does_only_what_is_missing(dataset, tmp_path):
    run_stage(Echo(tmp_path), dataset, RUN)
    (Path(dataset.root) / "captions" / "part-000001.parquet").unlink()
    (tmp_path / "calls").unlink()
    summary = run_stage(Echo(tmp_path), dataset, RUN)
    assert summary.shards_skipped == 2
    assert {line[0] for line in (tmp_path / "calls").read_text().split()} == {"1"}
    assert len(set(ids(dataset))) == 28


def test_rows_keep_the_order_of_their_source(dataset, tmp_path):
    run_stage(Echo(tmp_path), dataset, RUN)
    assert ids(dataset) == sorted(ids(dataset))


def test_an_engine_that_dies_is_started_again_and_nothing_is_lost(dataset, tmp_path):
    summary = run_stage(Echo(tmp_path, "dies once"), dataset, RUN)
    assert (tmp_path / "died").exists()
    assert (summary.rows_in, summary.dead_letters) == (30, 2)
    assert len(set(ids(dataset))) == 28


def test_a_model_that_is_not_there_ends_the_run_with_one_sentence(dataset, tmp_path):
    with pytest.raises(StageError, match=r"^Model not found: absent\.$"):
        run_stage(Echo(tmp_path, "absent"), dataset, RUN)


def test_another_configuration_on_the_same_output_is_refused(dataset, tmp_path):
    run_stage(Echo(tmp_path), dataset, RUN)
    with pytest.raises(DatasetError, match="another configuration"):
        run_stage(Echo(tmp_path, "other"), dataset, RUN)


def test_a_dataset_without_the_source_table_says_which_stage_is_missing(tmp_path):
    with pytest.raises(DatasetError, match="images has no shards"):
        run_stage(Echo(tmp_path), Dataset(str(tmp_path)), RUN)
