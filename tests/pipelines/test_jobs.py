"""The whole job by `ray job submit` on a head started for it, as the README shows."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import matplotlib
import pytest
import sklearn

from datagen.dataset import Dataset, Table
from datagen.demo.draw import encode_jpeg
from datagen.demo.rewriter import export_rewriter
from datagen.demo.world import make_scene

ROOT = Path(__file__).parents[2]
SCENES = 6
PHOTOS = [  # real photographs that installed packages carry
    Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg",
    Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg",
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
]
GOOD = SCENES + len(PHOTOS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """`ray start --head`, in a process group of its own that is ended afterwards."""
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    dashboard = free_port()
    programs = Path(sys.executable).parent  # as in an activated environment
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "HF_HUB_OFFLINE": "1",
    }
    ray = str(programs / "ray")
    head = subprocess.Popen(
        [
            ray, "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats",
            f"--port={free_port()}", f"--dashboard-port={dashboard}", "--include-dashboard=true",
            f"--dashboard-agent-listen-port={free_port()}",
            f"--temp-dir=/tmp/ray-{secrets.token_hex(4)}",
        ],
        env={k: v for k, v in environment.items() if k != "RAY_ADDRESS"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 180
    trial = [ray, "job", "submit", "--no-wait", "--", "true"]  # the agent starts after the head
    while subprocess.run(trial, env=environment, capture_output=True).returncode:
        assert head.poll() is None and time.monotonic() < deadline, "the head did not start"
        time.sleep(1)

    def submit(script: str, *arguments: object) -> str:
        command = [ray, "job", "submit", "--working-dir", ".", "--", "python", script]
        result = subprocess.run(
            [*command, *map(str, arguments)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
        return result.stdout

    yield submit
    os.killpg(head.pid, signal.SIGTERM)
    try:
        head.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(head.pid, signal.SIGKILL)


def recipe(name: str) -> tuple[str, str]:
    return "--recipe", f"pipelines/recipes/demo/{name}.yaml"


def test_every_pipeline_script_runs_as_a_job(cluster, tmp_path):
    data, model = tmp_path / "data", tmp_path / "model"
    images = tmp_path / "images"
    images.mkdir()
    for n in range(SCENES):
        (images / f"{n}.jpg").write_bytes(encode_jpeg(make_scene("demo", n)))
    for photo in PHOTOS:
        shutil.copy(photo, images)
    (images / "truncated.jpg").write_bytes(PHOTOS[0].read_bytes()[:5000])
    (images / "page.jpg").write_text("<html>404</html>")
    kept = ROOT / "runs" / "demo" / "models" / "smollm2"
    rewriter = kept if kept.exists() else export_rewriter(tmp_path / "smollm2")

    out = cluster("pipelines/caption.py", *recipe("caption"), "--images", images, "--data", data)
    assert f"images: {GOOD + 2} rows in = {GOOD} done + 2 dead letters" in out
    # The tiny captioner knows the small world alone: what it says of a photo may fail the checks.
    sums = re.search(rf"captions: {GOOD} rows in = (\d+) done \+ (\d+) dead letters", out)
    assert sums is not None, out
    captioned = int(sums[1])
    assert captioned >= SCENES and captioned + int(sums[2]) == GOOD
    cluster("pipelines/regions.py", *recipe("regions"), "--data", data)
    cluster("pipelines/negatives.py", *recipe("negatives"), "--data", data, "--model", rewriter)
    dataset = Dataset(str(data))
    captions = list(dataset.read_rows(Table.CAPTIONS, 0))
    regions = list(dataset.read_rows(Table.REGIONS, 0))
    negatives = list(dataset.read_rows(Table.NEGATIVES, 0))
    assert len(captions) == captioned and all(row.long and row.short for row in captions)
    assert len(regions) == len(negatives) > 0
    long = {row.image_id: row.long for row in captions}
    for row in regions:
        assert long[row.image_id][row.span_start : row.span_end] == row.phrase
        assert 0 <= row.bbox[0] < row.bbox[2] <= 1 and 0 <= row.bbox[1] < row.bbox[3] <= 1
    for row in negatives:
        for negative in row.negatives:
            assert negative.text[negative.span_start : negative.span_end] == negative.new
            assert negative.old in row.positive and negative.old != negative.new
        assert len({negative.text for negative in row.negatives}) == len(row.negatives) <= 10
    assert any(len(row.negatives) >= 5 for row in negatives)
    joined = duckdb.sql(
        f"SELECT count(*) FROM '{data}/regions/*.parquet' JOIN '{data}/images/*.parquet' "
        "USING (image_id)"
    ).fetchall()
    assert joined == [(len(regions),)]

    small = ("--batch-size", 4, "--epochs", 1)
    cluster("pipelines/train.py", *recipe("train"), "--data", data, "--output", model, *small)
    out = cluster("pipelines/evaluate.py", "--data", data, "--model", model)
    cluster("pipelines/report.py", "--data", data, "--output", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert regions[0].phrase in page
    about = json.loads((data / "captions" / "run.json").read_text())
    assert about["settings"]["long_prompt"]["name"] == "demo-caption-long"
    shutil.rmtree(data)
