"""vLLM in the process: many requests in flight, continuous batching across all of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from datagen.engines.chat import ChatReply, ChatRequest, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.errors import EngineDeadError, RequestError
from datagen.engines.models import check_model
from datagen.engines.vllm_process import ProcessNotes
from datagen.precision import has_bfloat16

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

_CPU_ENVIRONMENT = {
    # One thread a worker, not bound to a core: several engines share a small machine.
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}

# By its full name: where it is called "uni", vLLM takes two processes on CPU, and the one burns a
# core while it waits for the other.
ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"

RESPONSE_TIMEOUT_S = 30.0
"""After a request ran out of time: so long may the engine take to show that it is there."""

DYING_S = 60.0
"""An exception in vLLM's processes is the cause of a death that is seen so soon after it."""

ATTEMPTS = 3
"""So often is a request given to vLLM that ends it with "error", which says "ask again"."""


class VllmEngine:
    """A `ChatEngine` on vLLM's AsyncLLM. Its processes end with the one that made it.

    Raises:
        ModelNotFoundError: there is no such model, or its configuration cannot be read.
        EngineDeadError: the engine did not start, for example for want of memory.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.usage = Usage()
        check_model(config.model, config.revision)
        self._numbers = itertools.count()
        self._notes = ProcessNotes()
        self._engine: AsyncLLM | None = start_vllm(config, self._notes)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answer one request; see `ChatEngine.chat`. When cancelled, the engine drops it too."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

        engine, limit = self._engine, self.config.request_timeout_s
        if engine is None:
            raise EngineDeadError("The engine was closed.")
        try:
            async with asyncio.timeout(limit):
                output = await self._attempts(engine, request)
        except TimeoutError:
            await self._check_responsive(engine)
            raise RequestError(f"vLLM gave no answer within {limit:g} s.") from None
        except VllmDeadError as error:
            raise self._dead() from error
        except Exception as error:
            await self._check_alive(engine)
            raise RequestError(
                f"vLLM refused the request: {type(error).__name__}: {error}"
            ) from error
        completion = output.outputs[0]
        if completion.finish_reason not in ("stop", "length"):
            await self._check_alive(engine)
            raise RequestError(
                f"vLLM took the request and ended it with {completion.finish_reason!r}."
            )
        reply = ChatReply(
            text=completion.text.strip(),
            finish_reason=completion.finish_reason,
            prompt_tokens=len(output.prompt_token_ids or ()),
            output_tokens=len(completion.token_ids),
            cached_tokens=output.num_cached_tokens or 0,
        )
        self.usage = self.usage.add(reply)
        return reply

    async def _attempts(self, engine: AsyncLLM, request: ChatRequest) -> Any:
        """vLLM's output of the first attempt that it does not end with "error", or of the last.

        vLLM sends a picture to its engine's process once and then only its name. Where the two
        disagree on what was sent (a request was cancelled on its way, or one overtook another),
        it forgets the name and ends the request: the next attempt sends the picture.
        """
        output = await self._generate(engine, request)
        for _ in range(ATTEMPTS - 1):
            if output.outputs[0].finish_reason != "error":
                break
            output = await self._generate(engine, request)
        return output

    async def _generate(self, engine: AsyncLLM, request: ChatRequest) -> Any:
        from vllm.renderers.params import ChatParams
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        structure, sampling = request.structure, request.sampling
        structured = None
        if structure is not None:
            structured = StructuredOutputsParams(
                choice=list(structure.choice) if structure.choice else None,
                regex=structure.regex,
                json=structure.json_schema,
            )
        parameters = SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            structured_outputs=structured,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        _, (prompt,) = await engine.renderer.render_chat_async(
            [_messages(request)],
            ChatParams(chat_template_kwargs={"add_generation_prompt": True}),
        )
        return await anext(  # FINAL_ONLY: a single output
            engine.generate(prompt, parameters, request_id=str(next(self._numbers)))
        )

    async def _check_responsive(self, engine: AsyncLLM) -> None:
        """Ask the engine something that needs no tokens: it answers between two steps."""
        try:
            async with asyncio.timeout(min(self.config.request_timeout_s, RESPONSE_TIMEOUT_S)):
                await engine.is_paused()
        except Exception as error:
            raise EngineDeadError(f"vLLM hangs and serves {self.config.model} no more.") from error

    async def _check_alive(self, engine: AsyncLLM) -> None:
        """Is a request's failure its own? A dying engine fails requests before it knows itself."""
        try:
            await self._check_responsive(engine)
        except EngineDeadError as error:
            raise (self._dead() if engine.errored else error) from error.__cause__

    def _dead(self) -> EngineDeadError:
        cause = self._notes.first_error(DYING_S) or "its process was ended from outside"
        return EngineDeadError(f"vLLM stopped serving {self.config.model}: {cause.rstrip('.')}.")

    async def close(self) -> None:
        """End the engine's processes, whatever they are at."""
        engine, self._engine = self._engine, None
        if engine is not None:
            # They hold nothing worth a farewell, which can take them a quarter of a minute.
            await asyncio.to_thread(engine.shutdown, 0.0)
            self._notes.close()


def start_vllm(config: EngineConfig, notes: ProcessNotes) -> AsyncLLM:
    """vLLM itself, with the settings that `VllmEngine` gives it.

    Raises:
        EngineDeadError: it did not start.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    import torch

    on_cpu = not torch.cuda.is_available()
    one_process = on_cpu and config.tensor_parallel_size == 1
    if on_cpu:
        for name, value in _CPU_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    from vllm import AsyncEngineArgs
    from vllm.config.logging import LoggingConfig
    from vllm.logger import DEFAULT_LOGGING_CONFIG
    from vllm.v1.engine.async_llm import AsyncLLM

    logging_file = notes.logging_config(DEFAULT_LOGGING_CONFIG)
    try:
        arguments = AsyncEngineArgs(
            model=config.model,
            revision=config.revision,
            dtype=dtype_of(config),  # type: ignore[arg-type]
            max_model_len=config.max_model_len,  # type: ignore[arg-type]
            max_num_seqs=config.max_num_seqs,
            gpu_memory_utilization=config.gpu_memory_utilization,
            tensor_parallel_size=config.tensor_parallel_size,
            enforce_eager=config.enforce_eager or on_cpu,
            trust_remote_code=config.trust_remote_code,
            enable_prefix_caching=True,
            # Only whole blocks are cached; the CPU's default of 128 tokens is longer than our
            # prompts.
            block_size=32 if on_cpu else None,
            # On CPU, vLLM dies where a seeded request's prompt is cut into chunks: it would have
            # to set the random generator back, which torch's CPU generator cannot.
            enable_chunked_prefill=False if on_cpu else None,
            limit_mm_per_prompt={"image": 1},
            distributed_executor_backend=ONE_PROCESS if one_process else None,
            disable_log_stats=True,
            logging_config=LoggingConfig(pylogging_config_file=logging_file),
        )
        return AsyncLLM.from_engine_args(arguments)
    except Exception as error:
        cause = (notes.first_error() or _one_line(error)).rstrip(".")
        notes.close()
        advice = _advice(cause, config, on_cpu)
        raise EngineDeadError(f"vLLM could not start {config.model}: {cause}.{advice}") from error


def dtype_of(config: EngineConfig) -> str:
    """What vLLM is told; "auto" is the model's own, but float32 where bfloat16 does not pay."""
    import torch

    on_cpu = not torch.cuda.is_available()
    return (
        "float32" if config.dtype == "auto" and on_cpu and not has_bfloat16("cpu") else config.dtype
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"])
    text = " ".join(str(error).split())
    if "-9}" in text:  # the exit code that vLLM reports
        return "the system ended its process, most often for want of memory"
    return f"{type(error).__name__}: {text}"


def _advice(cause: str, config: EngineConfig, on_cpu: bool) -> str:
    """What to set where memory or the context's length is the trouble."""
    if not re.search(r"memory|cache|max_model_len|max seq len", cause, re.IGNORECASE):
        return ""
    length = f"max_model_len (now {config.max_model_len or 'what the model allows'})"
    if on_cpu:
        space = os.environ["VLLM_CPU_KVCACHE_SPACE"]
        return (
            f" Set the environment variable VLLM_CPU_KVCACHE_SPACE (GiB, now {space}) to what is "
            f"free, or the engine's {length}."
        )
    return (
        f" Set the engine's gpu_memory_utilization (now {config.gpu_memory_utilization}), {length} "
        f"or max_num_seqs (now {config.max_num_seqs}), spread the model over more GPUs with "
        f"tensor_parallel_size (now {config.tensor_parallel_size}), or end what else uses the GPU."
    )


def _messages(request: ChatRequest) -> list[Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": request.text}]
    if request.image is not None:
        content.insert(0, {"type": "image_pil", "image_pil": request.image})
    system = [{"role": "system", "content": request.system}] if request.system else []
    user = content if request.image is not None else request.text
    return [*system, {"role": "user", "content": user}]
