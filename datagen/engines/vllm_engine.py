"""vLLM in the process: many requests in flight, continuous batching across all of them."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

from datagen.engines.chat import ChatReply, ChatRequest, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.errors import EngineDeadError, RequestError
from datagen.engines.models import check_model

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

_CPU_ENVIRONMENT = {
    # One thread a worker, not bound to a core: several engines share a small machine.
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


class VllmEngine:
    """A `ChatEngine` on vLLM's AsyncLLM. Make it inside the event loop that will use it.

    Raises:
        ModelNotFoundError: there is no such model, or its configuration cannot be read.
        EngineDeadError: the engine did not start, for example for want of memory.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.usage = Usage()
        check_model(config.model, config.revision)
        self._numbers = itertools.count()
        self._engine = _start(config)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answer one request; see `ChatEngine.chat`."""
        from vllm.renderers.params import ChatParams
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError

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
        try:
            _, (prompt,) = await self._engine.renderer.render_chat_async(
                [_messages(request)],
                ChatParams(chat_template_kwargs={"add_generation_prompt": True}),
            )
            final: Any = await anext(  # FINAL_ONLY: a single output
                self._engine.generate(prompt, parameters, request_id=str(next(self._numbers)))
            )
        except VllmDeadError as error:
            raise EngineDeadError(f"vLLM stopped serving {self.config.model}: {error}") from error
        except Exception as error:
            if self._engine.errored:
                raise EngineDeadError(f"vLLM stopped serving {self.config.model}.") from error
            raise RequestError(
                f"vLLM refused the request: {type(error).__name__}: {error}"
            ) from error
        output = final.outputs[0]
        reply = ChatReply(
            text=output.text.strip(),
            finish_reason=output.finish_reason or "unknown",
            prompt_tokens=len(final.prompt_token_ids or ()),
            output_tokens=len(output.token_ids),
            cached_tokens=final.num_cached_tokens or 0,
        )
        self.usage = self.usage.add(reply)
        return reply

    async def close(self) -> None:
        """Stop the engine's process."""
        self._engine.shutdown()


def _start(config: EngineConfig) -> AsyncLLM:
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    import torch

    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        for name, value in _CPU_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = AsyncEngineArgs(
        model=config.model,
        revision=config.revision,
        dtype=config.dtype,  # type: ignore[arg-type]
        max_model_len=config.max_model_len,  # type: ignore[arg-type]
        max_num_seqs=config.max_num_seqs,
        gpu_memory_utilization=config.gpu_memory_utilization,
        tensor_parallel_size=config.tensor_parallel_size,
        enforce_eager=config.enforce_eager or on_cpu,
        trust_remote_code=config.trust_remote_code,
        enable_prefix_caching=True,
        # Only whole blocks are cached; the CPU's default of 128 tokens is longer than our prompts.
        block_size=32 if on_cpu else None,
        # On CPU, vLLM dies where a seeded request's prompt is cut into chunks: it would have to
        # set the random generator back, which torch's CPU generator cannot.
        enable_chunked_prefill=False if on_cpu else None,
        limit_mm_per_prompt={"image": 1},
        distributed_executor_backend="uni" if on_cpu else None,
        disable_log_stats=True,
    )
    try:
        return AsyncLLM.from_engine_args(arguments)
    except Exception as error:
        raise EngineDeadError(f"vLLM could not start {config.model}: {error}") from error


def _messages(request: ChatRequest) -> list[Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": request.text}]
    if request.image is not None:
        content.insert(0, {"type": "image_pil", "image_pil": request.image})
    system = [{"role": "system", "content": request.system}] if request.system else []
    user = content if request.image is not None else request.text
    return [*system, {"role": "user", "content": user}]
