"""One training function, three ways to run it: this process, torchrun's processes, Ray Train's."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from datagen.dataset import Table
from datagen.errors import UserError
from datagen.training.config import TrainConfig
from datagen.training.folder import import_folder, is_dataset
from datagen.training.loop import Evaluate, TrainResult, train

_RESULT = "ray.json"


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

    from datagen.runner.crew import start_ray

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
        trainer.fit()
    except Exception as error:
        raise UserError(f"Training with Ray failed: {error}") from error
    output = Path(config.output)
    found = json.loads((output / _RESULT).read_text(encoding="utf-8"))
    return TrainResult(model=output / "model", **found)


def _ray_worker(settings: dict[str, Any]) -> None:
    job: _Job = settings["job"]
    result = train(job.config, job.evaluate)
    if dist.get_rank() == 0:  # Ray hands back what comes with its own checkpoints alone
        found = asdict(result)
        del found["model"]
        (Path(job.config.output) / _RESULT).write_text(json.dumps(found), encoding="utf-8")
