"""The runner on a real Ray: every row in is a row out or a dead letter, and done shards stay."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from datagen.dataset import Dataset, DatasetError, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.dataset.lock import Holder
from datagen.runner import StageError, run_stage
from datagen.stage import Item, Stage
from tests.runner.echo_stage import ROOT, RUN, Echo, make_dataset


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": ROOT}},
    )
    yield
    ray.shutdown()


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return make_dataset(tmp_path / "data")


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


def test_a_retry_does_the_dead_letters_and_nothing_else(dataset, tmp_path):
    first = run_stage(Echo(tmp_path, "half bad"), dataset, RUN)
    assert first.dead_letters == 12
    (tmp_path / "mended").touch()
    (tmp_path / "calls").unlink()
    run_stage(Echo(tmp_path, "half bad"), dataset, RUN)
    assert not (tmp_path / "calls").exists(), "without being asked, dead letters stay"
    second = run_stage(Echo(tmp_path, "half bad"), dataset, replace(RUN, retry_errors=True))
    assert (second.rows_in, second.rows_ok, second.dead_letters) == (30, 28, 2)
    assert {line[0] for line in (tmp_path / "calls").read_text().split()} == {"2"}
    assert ids(dataset) == sorted(set(ids(dataset)))
    assert len(ids(dataset)) == 28
    assert [e.attempts for s in (0, 1) for e in dataset.errors("captions", s)] == [2, 2]


def test_a_limited_run_is_gone_on_with_from_its_last_row(dataset, tmp_path):
    first = run_stage(Echo(tmp_path), dataset, replace(RUN, limit=13))
    assert first.rows_in == 13
    assert len(ids(dataset)) == 12
    (tmp_path / "calls").unlink()
    second = run_stage(Echo(tmp_path), dataset, RUN)
    assert (second.rows_in, second.dead_letters) == (30, 2)
    assert "1-2" not in (tmp_path / "calls").read_text(), "rows that are there are kept"
    assert ids(dataset) == sorted(set(ids(dataset)))


def test_too_many_dead_letters_stop_the_run_with_the_commonest_reasons(
    dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr("datagen.runner.run.RATE_AFTER_ROWS", 5)
    run = replace(RUN, max_error_rate=0.2, shards_in_flight=1)
    with pytest.raises(StageError, match=r"10 × RowError: not today") as caught:
        run_stage(Echo(tmp_path, "half bad"), dataset, run)
    assert "max_error_rate" in str(caught.value)
    status = json.loads((Path(dataset.root) / "captions" / "status.json").read_text())
    assert status["state"] == "failed"


def test_a_row_that_takes_too_long_is_a_dead_letter(dataset, tmp_path):
    summary = run_stage(Echo(tmp_path, "hangs"), dataset, replace(RUN, row_timeout_s=1.0))
    assert summary.dead_letters == 3
    assert "no answer within 1 s" in {e.message for e in dataset.errors("captions", 1)}


def test_a_row_that_kills_every_actor_is_found_and_given_up(dataset, tmp_path):
    summary = run_stage(Echo(tmp_path, "poisoned"), dataset, RUN)
    assert (summary.rows_in, summary.dead_letters) == (30, 3)
    letters = {e.id: e.message for e in dataset.errors("captions", 1)}
    assert letters["1-7"] == "the engine died whenever it worked on this row"
    assert len(set(ids(dataset))) == 27


def test_a_full_disk_ends_the_run_in_one_sentence_and_no_shard_is_half_there(dataset, tmp_path):
    with pytest.raises(StageError, match=r"No space left for .* run the same command again"):
        run_stage(Echo(tmp_path, "full disk"), dataset, RUN)
    folder = Path(dataset.root) / "captions"
    names = {path.name for path in folder.iterdir()}
    assert {"run.json", "status.json"} == {name for name in names if not name.endswith(".tmp")}


def test_a_shard_that_is_gone_stops_no_other(dataset, tmp_path):
    class Loses(Echo):
        def prepare(self, dataset: Dataset) -> None:
            self.gone = Path(dataset.root) / "images" / "part-000001.parquet"

        def shards(self, dataset: Dataset) -> list[int]:
            return [0, 1, 2]

        def expected_rows(self, dataset: Dataset, shards: object) -> list[int]:
            self.gone.unlink(missing_ok=True)  # after the plan, as somebody tidying up would
            return [10, 10, 10]

    with pytest.raises(StageError, match=r"1 of 3 shards .*part-000001.*Run its stage again"):
        run_stage(Loses(tmp_path), dataset, RUN)
    assert dataset.shards(Table.CAPTIONS) == [0, 2]


def test_status_says_what_is_done(dataset, tmp_path):
    run_stage(Echo(tmp_path), dataset, RUN)
    status = json.loads((Path(dataset.root) / "captions" / "status.json").read_text())
    assert (status["state"], status["rows"], status["dead_letters"]) == ("finished", 30, 2)
    assert status["reasons"]["RowError: the third is bad"] == 1
    assert (status["shards"], status["shards_total"]) == (3, 3)


class Numbers(Stage[Item]):
    """Images without a source: each shard holds 0, 1, 2 and its own number."""

    name, source, output, key, unique = "images", None, Table.IMAGES, "uri", "image_id"
    lineage = Lineage(stage="images", settings={})

    def shards(self, dataset: Dataset) -> list[int]:
        return list(range(10, 16))

    def expected_rows(self, dataset: Dataset, shards: object) -> list[int]:
        return [-1] * 6

    def read(self, dataset: Dataset, shard: int) -> Iterator[Item]:
        for number in (0, 1, 2, shard, shard):
            yield Item(f"{shard}:{number}")

    async def process(self, item: Item) -> list[ImageRow]:
        name = item.id.partition(":")[2]
        return [
            ImageRow(image_id=name, uri=item.id, bytes=b"", width=1, height=1, format="P", phash="")
        ]


def test_what_may_come_once_comes_once_in_all_shards(tmp_path):
    dataset = Dataset(str(tmp_path))
    first = run_stage(Numbers(), dataset, replace(RUN, limit=8))
    assert (first.rows_in, first.rows_ok) == (8, 4)
    summary = run_stage(Numbers(), dataset, RUN)
    assert (summary.rows_in, summary.rows_ok, summary.dead_letters) == (30, 9, 21)
    rows = [row for shard in range(10, 16) for row in dataset.read_rows(Table.IMAGES, shard)]
    assert sorted(int(row.image_id) for row in rows) == [0, 1, 2, 10, 11, 12, 13, 14, 15]
    assert {e.error for e in dataset.errors("images", 12)} == {"Duplicate"}


def test_a_second_driver_waits_and_finds_all_done(dataset, tmp_path):
    code = f"""
from tests.runner.test_runner import *
environment = {{"env_vars": {{"PYTHONPATH": {ROOT!r}}}}}
ray.init(
    address={ray.get_runtime_context().gcs_address!r},
    log_to_driver=False,
    runtime_env=environment,
)
print(run_stage(Echo(Path({str(tmp_path)!r})), Dataset({dataset.root!r}), RUN).line())
"""
    drivers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    lines = [driver.communicate(timeout=240)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0]
    assert sum("(3 were there already)" in line for line in lines) == 1
    calls = (tmp_path / "calls").read_text().split()
    assert len(calls) == len(set(calls)) == 28


def test_a_driver_that_was_killed_holds_nobody_up(dataset, tmp_path):
    lock = {"token": "t", "host": Holder.me().host, "pid": 2**22 + 1, "started": 0.0, "beat": 3}
    dataset.write_json("_locks/captions.json", lock)
    run_stage(Echo(tmp_path), dataset, RUN)
    assert len(ids(dataset)) == 28
