"""vLLM's engine process is killed in the middle of a run: another takes over, no row is lost."""

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray

from datagen.captions.stage import CaptionsConfig, CaptionsStage
from datagen.dataset import Table
from datagen.runner import RunConfig, run_stage
from tests.engines.vllm_samples import CONFIG, LONG_PROMPT, SHORT_PROMPT, make_images

ROWS = 600


@pytest.fixture
def local_ray():
    path = str(Path(__file__).parents[2])
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield
    ray.shutdown()


def engines() -> list[psutil.Process]:
    """vLLM's engine processes among the descendants of this process, which Ray's are."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "VLLM::EngineCore" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_one_after(first_shard: Path, killed: list[int]) -> None:
    while not first_shard.exists():
        time.sleep(0.02)
    (engine,) = engines()
    os.kill(engine.pid, signal.SIGKILL)
    killed.append(engine.pid)


def test_a_killed_engine_is_replaced_and_every_row_is_there_once(tmp_path, local_ray):
    dataset = make_images(tmp_path, rows=ROWS, shard_rows=50)
    stage = CaptionsStage(
        CaptionsConfig(
            engine=CONFIG, long_prompt=LONG_PROMPT, short_prompt=SHORT_PROMPT, max_side=128
        )
    )
    killed: list[int] = []
    first_shard = tmp_path / "captions" / "part-000000.parquet"
    killer = threading.Thread(target=kill_one_after, args=(first_shard, killed), daemon=True)
    killer.start()
    summary = run_stage(stage, dataset, RunConfig(rows_in_flight=64, shards_in_flight=3))
    assert len(killed) == 1
    assert summary.restarts == 1
    wanted = [
        row.image_id
        for shard in dataset.shards(Table.IMAGES)
        for row in dataset.read_rows(Table.IMAGES, shard)
    ]
    shards = dataset.shards(Table.CAPTIONS)
    rows = [row for shard in shards for row in dataset.read_rows(Table.CAPTIONS, shard)]
    letters = [letter for shard in shards for letter in dataset.errors(stage.name, shard)]
    assert summary.rows_in == ROWS and summary.rows_ok == len(rows)
    assert sorted([*(row.image_id for row in rows), *(letter.id for letter in letters)]) == sorted(
        wanted
    )
    # What the captioner itself says badly, twice, is refused; the killing cost no row.
    assert {letter.error for letter in letters} <= {"CaptionRejected"}
    assert len(letters) < ROWS / 50
    psutil.wait_procs(left := engines(), timeout=60)
    assert not any(process.is_running() for process in left)
