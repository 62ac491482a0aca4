"""How much of vLLM's own speed is left when a stage runs on it, through Ray and into shards.

Sides, each in a process of its own, in turn, `--rounds` times, every other round backwards:

- `pipeline`: `run_stage` over a dataset, from the first engine's readiness to the last commit;
  JPEG decoding and resizing are part of it.
- `bare`: vLLM's AsyncLLM with the same settings, in a process without Ray, given the very same
  requests all at once, with pictures decoded and resized before the clock starts.
- `ray`: `ray.data.llm` with the same model, settings and text requests, from the first request's
  start to the last reply.

Prints one line of JSON last. `efficiency_…` is the pipeline's rate over the bare engine's, from
total seconds; `vs_ray_data_llm` the pipeline's rate over ray.data.llm's; `prefix_cache_share` the
share of prompt tokens that the pipeline's engines took from their cache. `…_undisturbed` are the
same without the time in which the engine wanted a core and other programs had it, and
`…_idle` the share of the rest in which the engine had nothing to do (see `engine_watch`). A side
works long enough for its first half second, when the engine waits for requests, not to matter.
With the defaults it takes about 25 minutes on two cores that do nothing else.

    python -m benchmarks.engine_efficiency --model runs/demo/models/smollm2
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from benchmarks.engine_watch import EngineTime, EngineWatch
from benchmarks.engine_workloads import (
    SHARDS,
    image_workload,
    requests_of,
    text_request,
    text_workload,
)
from datagen.engines.chat import ChatRequest, Usage
from datagen.engines.config import EngineConfig
from datagen.runner import RunConfig, run_stage

SIDES = ("pipeline-image", "bare-image", "pipeline-text", "bare-text", "ray-text")
ROWS_IN_FLIGHT = 128
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a side did in `seconds` of its engine's time."""

    seconds: float
    usage: Usage
    engine: EngineTime = field(default_factory=EngineTime)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.usage.requests / self.seconds

    def undisturbed(self, lead: bool) -> float:
        """Requests a second of the engine's own time, with or without that before its first."""
        engine = self.engine
        return self.usage.requests / (engine.work + engine.idle + lead * engine.lead)

    def plus(self, other: Measurement) -> Measurement:
        """The sum of two."""
        return Measurement(
            seconds=self.seconds + other.seconds,
            usage=self.usage.plus(other.usage),
            engine=self.engine.plus(other.engine),
        )


def pipeline(kind: str, model: str, rows: int, folder: Path) -> Measurement:
    """Our side."""
    workload = (
        text_workload(folder, model, rows) if kind == "text" else image_workload(folder, rows)
    )
    # The shards are so small here that fewer at once would not fill the engine's slots.
    run = RunConfig(rows_in_flight=ROWS_IN_FLIGHT, shards_in_flight=SHARDS)
    summary = run_stage(*workload, run)
    assert summary.rows_in == rows and summary.dead_letters < rows / 100, summary.line()
    return Measurement(seconds=summary.engine_seconds, usage=summary.usage)


def bare(kind: str, model: str, rows: int, folder: Path) -> Measurement:
    """vLLM alone."""
    if kind == "text":
        stage, dataset = text_workload(folder, model, rows)
    else:
        stage, dataset = image_workload(folder, rows)
    requests = requests_of(stage, dataset)
    config = stage._config if kind == "text" else stage.config.engine  # type: ignore[attr-defined]
    return asyncio.run(_bare(requests, config))


async def _bare(requests: Sequence[ChatRequest], config: Any) -> Measurement:
    from vllm.renderers.params import ChatParams
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    from datagen.engines.vllm_engine import start_vllm
    from datagen.engines.vllm_process import ProcessNotes

    notes = ProcessNotes()
    engine = start_vllm(config, notes)
    usage = Usage()

    async def one(number: int, request: ChatRequest) -> None:
        nonlocal usage
        _, (prompt,) = await engine.renderer.render_chat_async(
            [_messages(request)], ChatParams(chat_template_kwargs={"add_generation_prompt": True})
        )
        sampling = SamplingParams(
            **asdict(request.sampling), output_kind=RequestOutputKind.FINAL_ONLY
        )
        async for final in engine.generate(prompt, sampling, request_id=str(number)):
            usage = usage.plus(
                Usage(
                    requests=1,
                    prompt_tokens=len(final.prompt_token_ids or ()),
                    cached_tokens=final.num_cached_tokens or 0,
                    output_tokens=len(final.outputs[0].token_ids),
                )
            )

    started = time.monotonic()
    await asyncio.gather(*(one(number, request) for number, request in enumerate(requests)))
    seconds = time.monotonic() - started
    engine.shutdown(0.0)
    notes.close()
    return Measurement(seconds=seconds, usage=usage)


def _messages(request: ChatRequest) -> list[Any]:
    text: list[Any] = [{"type": "text", "text": request.text}]
    if request.image is not None:
        text.insert(0, {"type": "image_pil", "image_pil": request.image})
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": text if request.image else request.text}]


def ray_data(model: str, rows: int) -> Measurement:
    """Ray's own batch inference on vLLM, text only."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from datagen.engines.vllm_engine import ONE_PROCESS, dtype_of

    # Its stages ask for a CPU each, which a small machine does not have.
    ray.init(address="local", num_cpus=8, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    processor = build_processor(
        vLLMEngineProcessorConfig(
            model_source=model,
            engine_kwargs={
                "dtype": dtype_of(EngineConfig(model=model)),
                "max_model_len": 512,
                "max_num_seqs": 64,
                "enforce_eager": True,
                "block_size": 32,
                "enable_prefix_caching": True,
                "enable_chunked_prefill": False,
                "distributed_executor_backend": ONE_PROCESS,
            },
            batch_size=16,
            concurrency=1,
            placement_group_config={"bundles": [{"CPU": 1}]},
            log_engine_metrics=False,
        ),
        preprocess=_ray_row,
        postprocess=_ray_time,
    )
    numbers = ray.data.range(rows, override_num_blocks=max(rows // 16, 1))
    replies = processor(numbers).take_all()
    ray.shutdown()
    assert len(replies) == rows
    return Measurement(
        seconds=max(r["ended"] for r in replies) - min(r["started"] for r in replies),
        usage=Usage(requests=rows, output_tokens=sum(r["tokens"] for r in replies)),
    )


def _ray_row(row: dict[str, Any]) -> dict[str, Any]:
    request = text_request(int(row["id"]))
    messages = [
        {"role": "system", "content": request.system},
        {"role": "user", "content": request.text},
    ]
    return {"messages": messages, "sampling_params": asdict(request.sampling)}


def _ray_time(row: dict[str, Any]) -> dict[str, Any]:
    now = time.time()
    return {
        "ended": now,
        "started": now - row["time_taken_llm"],
        "tokens": row["num_generated_tokens"],
    }


def measure(side: str, model: str, rows: int) -> Measurement:
    """One side, in this process."""
    who, _, kind = side.partition("-")
    with tempfile.TemporaryDirectory() as folder:
        if who == "ray":
            return ray_data(model, rows)
        return {"pipeline": pipeline, "bare": bare}[who](kind, model, rows, Path(folder))


def in_own_process(side: str, arguments: argparse.Namespace) -> Measurement:
    """Measure a side in a process of its own, with the environment that `VllmEngine` sets."""
    rows = arguments.texts if side.endswith("text") else arguments.images
    command = [
        sys.executable, "-m", "benchmarks.engine_efficiency", "--side", side,
        "--model", arguments.model, "--rows", str(rows),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "RAY_raylet_start_wait_time_s": "120",
    }
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        watch = EngineWatch(process.pid)
        try:
            output, _ = process.communicate(timeout=arguments.limit_s)
        except subprocess.TimeoutExpired:
            sys.exit(f"{side} took longer than {arguments.limit_s:g} s (--limit-s).")
        finally:
            process.kill()  # of what it started, all ends with it
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"{side} failed:\n{errors.read()[-4000:]}")
    figures = json.loads(output.splitlines()[-1])
    seconds = figures["seconds"]
    return Measurement(seconds=seconds, usage=Usage(**figures["usage"]), engine=watch.last(seconds))


def report(totals: dict[str, Measurement]) -> dict[str, float]:
    """The figures of the sides that were measured."""
    figures: dict[str, float] = {}

    def ratio(name: str, side: str, other: str, lead: bool = True) -> None:
        if side in totals and other in totals:
            ours, theirs = totals[side], totals[other]
            figures[name] = round(ours.rate / theirs.rate, 4)
            if not (ours.engine.seen and theirs.engine.seen):
                return
            figures[f"{name}_undisturbed"] = round(
                ours.undisturbed(lead) / theirs.undisturbed(lead), 4
            )

    ratio("efficiency_text", "pipeline-text", "bare-text")
    ratio("efficiency_image", "pipeline-image", "bare-image")
    # ray.data.llm's clock starts after the first prompt is rendered.
    ratio("vs_ray_data_llm", "pipeline-text", "ray-text", lead=False)
    usages = [m.usage for side, m in totals.items() if side.startswith("pipeline")]
    if prompt := sum(usage.prompt_tokens for usage in usages):
        figures["prefix_cache_share"] = round(sum(u.cached_tokens for u in usages) / prompt, 4)
    for side, total in totals.items():
        figures[f"{side}_per_s"] = round(total.rate, 3)
        if total.engine.seen:
            own = total.engine.work + total.engine.idle
            figures[f"{side}_idle"] = round(total.engine.idle / own, 4)
    return figures


def main() -> None:
    """Print one line a measurement, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="runs/demo/models/smollm2", help="SmolLM2's folder")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=2400)
    parser.add_argument("--texts", type=int, default=480)
    parser.add_argument("--limit-s", type=float, default=900.0, help="longest time of a side")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--side", choices=SIDES, help="measure one side, in this process")
    parser.add_argument("--rows", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(asdict(measure(arguments.side, arguments.model, arguments.rows))))
        return
    measured: dict[str, list[Measurement]] = defaultdict(list)
    for number in range(arguments.rounds):
        for side in arguments.sides[:: -1 if number % 2 else 1]:
            measurement = in_own_process(side, arguments)
            measured[side].append(measurement)
            print(f"round {number + 1} {side}: {measurement}", flush=True)
    totals = {side: reduce(Measurement.plus, done) for side, done in measured.items()}
    print(json.dumps(report(totals)))


if __name__ == "__main__":
    main()
