"""Runs that are killed or told to stop, as real processes, and go on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from datagen.training.config import ModelConfig, OptimConfig, TrainConfig
from datagen.training.data import DataConfig
from datagen.training.launch import launch
from datagen.training.loop import train

ROOT = Path(__file__).parents[2]
SIZES = {
    "image_size": 32, "vision_width": 32, "vision_layers": 2, "vision_heads": 2, "text_width": 32,
    "text_layers": 1, "text_heads": 2, "embedding": 16, "vocab_size": 400,
}  # fmt: skip
OPTIM = {"learning_rate": 0.001, "warmup_steps": 2, "batch_size": 8, "epochs": 20}
READER = {"max_negatives": 3, "lanes": 4}


@pytest.fixture
def config(small_world, tmp_path):
    return TrainConfig(
        data=small_world.root, output=str(tmp_path / "run"), model=ModelConfig(**SIZES),
        optim=OptimConfig(**OPTIM), reader=DataConfig(**READER), log_every=1, threads=1,
        checkpoint_every=7,
    )  # fmt: skip


@pytest.fixture
def whole(config, tmp_path):
    """The weights of a run that nobody disturbed."""
    result = train(replace(config, output=str(tmp_path / "whole")))
    return load_file(result.model / "model.safetensors")


def start(config, tmp_path, *options, before=()):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"model": SIZES, "optim": OPTIM, "reader": READER}))
    command = [
        *(before or [sys.executable]), "pipelines/train.py", "--recipe", str(recipe),
        "--data", config.data, "--output", config.output, "--log-every", "1", "--threads", "1",
        *options,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def metrics(config):
    path = Path(config.output) / "metrics.jsonl"
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def wait_for_step(config, step, process):
    limit = time.monotonic() + 240
    while not any(line["step"] >= step for line in metrics(config)):
        assert process.poll() is None and time.monotonic() < limit, process.communicate()[0]
        time.sleep(0.01)


def test_killed_at_any_moment_a_run_ends_with_the_same_weights(config, whole, tmp_path):
    process = start(config, tmp_path, "--checkpoint-every", "7")
    wait_for_step(config, 16, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(metrics(config))
    assert before < 60
    result = train(config)
    assert 0 < result.steps <= 60 - 14
    found = load_file(result.model / "model.safetensors")
    assert all(torch.equal(whole[name], found[name]) for name in whole)
    assert [line["step"] for line in metrics(config)] == list(range(1, 61))


def test_told_to_stop_a_run_saves_first(config, whole, tmp_path):
    process = start(config, tmp_path, "--checkpoint-every", "1000")
    wait_for_step(config, 5, process)
    process.terminate()
    said = process.communicate()[0]
    assert process.returncode == 1 and "go on" in said and "Traceback" not in said
    (saved,) = (Path(config.output) / "checkpoints").iterdir()
    done = int(saved.name.removeprefix("step-"))
    assert 5 <= done < 60
    result = train(config)
    assert result.steps == 60 - done
    found = load_file(result.model / "model.safetensors")
    assert all(torch.equal(whole[name], found[name]) for name in whole)


def losses(config):
    return [line["total"] for line in metrics(config)]


def test_two_processes_of_torchrun_train_as_one_does(config, whole, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    process = start(config, tmp_path, before=launcher)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    alone = losses(replace(config, output=str(tmp_path / "whole")))
    # Adam turns differences of rounding into small ones of weights.
    assert losses(config) == pytest.approx(alone, rel=2e-3)
    assert losses(config)[0] == pytest.approx(alone[0], rel=1e-5)


@pytest.fixture
def local_ray():
    ray = pytest.importorskip("ray")
    ray.shutdown()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_two_workers_of_ray_train_as_one_does(config, tmp_path, local_ray):
    short = replace(config, optim=replace(config.optim, epochs=4))
    alone = replace(short, output=str(tmp_path / "alone"))
    train(alone)
    result = launch(replace(short, workers=2))
    assert result.steps == 12 and (result.model / "model.safetensors").is_file()
    assert losses(config) == pytest.approx(losses(alone), rel=2e-3)
