"""One training function, three ways to run it: this process, torchrun's processes, Ray Train's."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from datagen.dataset import Table
from datagen.errors import UserError
from datagen.training.config import TrainConfig
from datagen.training.folder import import_folder, is_dataset
from datagen.training.loop import Evaluate, TrainResult, train


def launch(config: TrainConfig, evaluate: Evaluate | None = None) -> TrainResult:
    """Train here, or as one of the processes that torchrun started, or with Ray Train.

    Args:
        evaluate: see `train`; with Ray it must be picklable.

    Raises:
        UserError: see `train`, and if a worker of Ray fails.
    """
    if config.workers:
        return _with_ray(_with_dataset(config), evaluate)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return train(_with_dataset(config), evaluate)
    if config.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if config.device == "cuda" else "gloo")
    try:
        if dist.get_rank() == 0:
            _with_dataset(config)
        dist.barrier()
        return train(_with_dataset(config), evaluate)
    finally:
        dist.destroy_process_group()


def _with_dataset(config: TrainConfig) -> TrainConfig:
    """Pictures and captions that are no dataset yet become one in the run's folder."""
    if is_dataset(config.data) or Path(config.data, str(Table.CAPTIONS)).is_dir():
        return config
    if not ("://" in config.data or Path(config.data).exists()):
        return config  # training says what is missing
    data = import_folder(config.data, Path(config.output) / "data")
    return replace(config, data=data.root)


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker of Ray gets."""

    config: TrainConfig
    evaluate: Evaluate | None


def _with_ray(config: TrainConfig, evaluate: Evaluate | None) -> TrainResult:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from datagen.crew import start_ray

    start_ray()
    gpu = config.device == "cuda"
    trainer = TorchTrainer(
        _ray_worker,
        train_loop_config={"job": _Job(config, evaluate)},
        scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=gpu),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        run_config=RunConfig(name="ray", storage_path=str(Path(config.output).absolute())),
    )
    try:
        found: Any = trainer.fit().metrics
    except Exception as error:
        raise UserError(f"Training with Ray failed: {error}") from error
    model = Path(config.output) / "model"
    return TrainResult(
        model=model,
        steps=found["steps"],
        seconds=found["seconds"],
        images_per_second=found["images_per_second"],
    )


def _ray_worker(settings: dict[str, Any]) -> None:
    from ray import train as ray_train

    job: _Job = settings["job"]
    result = train(job.config, job.evaluate)
    ray_train.report(
        {
            "steps": result.steps,
            "seconds": result.seconds,
            "images_per_second": result.images_per_second,
        }
    )
