"""A dry run shows rows and what the whole will take, and leaves the dataset as it is."""

from dataclasses import replace
from pathlib import Path

import pytest
import ray

from datagen.dataset import Dataset, Table
from datagen.engines.chat import Usage
from datagen.flow import estimate, run_stages
from datagen.runner import RunSummary
from tests.runner.echo_stage import ROOT, RUN, Echo, make_dataset

SUMMARY = RunSummary(
    stage="captions",
    rows_in=10,
    rows_ok=10,
    rows_out=10,
    rows_done=10,
    dead_letters=0,
    shards=1,
    shards_skipped=0,
    seconds=9.0,
    engine_seconds=5.0,
    usage=Usage(requests=20, prompt_tokens=2000, cached_tokens=500, output_tokens=1000),
)


@pytest.fixture(scope="module")
def local_ray():
    environment = {"env_vars": {"PYTHONPATH": ROOT}}
    ray.init(address="local", num_cpus=2, include_dashboard=False, runtime_env=environment)
    yield
    ray.shutdown()


def files(root: str) -> set[str]:
    return {str(path) for path in Path(root).rglob("*") if path.is_file()}


def test_a_dry_run_shows_its_rows_and_leaves_no_trace(tmp_path, capsys, local_ray):
    dataset = make_dataset(tmp_path / "data")
    before = files(dataset.root)
    run_stages([(Echo(tmp_path), replace(RUN, dry_run=4))], Dataset(dataset.root))
    out = capsys.readouterr().out
    for name in ("0-0", "0-1", "0-2"):
        assert f"image_id: {name}\n  image_id: {name}\n  long: {name}" in out
    assert "image_id: 0-3\n  dead letter: the third is bad" in out
    assert "0-4" not in out
    assert "the whole input (30 rows)" in out
    assert files(dataset.root) == before
    assert dataset.shards(Table.CAPTIONS) == []
    assert "0-2" in (tmp_path / "data-dry-run.html").read_text()


def test_an_estimate_goes_by_rows_actors_and_prices():
    run = replace(RUN, actors=10, price_per_actor_hour=3.6, price_per_million_tokens=1.0)
    time, tokens, cost = estimate(SUMMARY, 1_000_000, run)
    assert time.startswith("the whole input (1,000,000 rows): about 13 h 53 min on 10 actors")
    assert "(138.9 actor-hours)" in time
    assert tokens == (
        "tokens: about 200,000,000 of prompts (25% of them from the prefix cache) "
        "and 100,000,000 written"
    )
    assert cost == "cost: about 800.00"


def test_the_summary_says_what_the_engine_did():
    assert SUMMARY.line().endswith(
        "; 20 requests with 2,000 tokens of prompts (25% from the prefix cache), 1,000 written"
    )
    assert replace(SUMMARY, usage=Usage()).line().endswith("9.0 s")


def test_an_estimate_for_a_source_that_does_not_tell_its_size():
    assert estimate(SUMMARY, None, RUN)[0].startswith("a part (1,000,000 rows): about")
