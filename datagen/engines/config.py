"""Which engine answers a stage's chats: vLLM in the process, or OpenAI-compatible endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """A model and what serves it: `endpoints` if there are any, otherwise vLLM in the process.

    The fields from `dtype` to `trust_remote_code` are vLLM's and have its names and meanings;
    endpoints ignore them.
    """

    model: str
    """Name on a model hub, or a folder; with endpoints, the name that they serve it under."""
    revision: str | None = None
    request_timeout_s: float = 300.0
    """A request (with endpoints: one attempt of it) that takes longer is given up."""

    dtype: str = "auto"
    """auto: the model's own, but float32 on a CPU without instructions for bfloat16."""
    max_model_len: int | None = None
    max_num_seqs: int = 64
    """Requests that the engine works on at once."""
    gpu_memory_utilization: float = 0.9
    tensor_parallel_size: int = 1
    enforce_eager: bool = False
    trust_remote_code: bool = False

    endpoints: tuple[str, ...] = ()
    """Base URLs of OpenAI-compatible servers, such as http://host:8000/v1; several share the
    requests."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the endpoints' key; it may be unset."""
    dialect: Literal["vllm", "openai"] = "vllm"
    """How a reply's form and length are asked for: with vLLM's `structured_outputs` and
    `max_tokens`, or with OpenAI's `response_format` and `max_completion_tokens`."""
    image_format: Literal["jpeg", "png"] = "jpeg"
    """How pictures travel to endpoints; JPEG at quality 95."""
    max_attempts: int = 8
    """Attempts at a request before it is a dead letter."""
    retry_wait_s: float = 1.0
    """Wait before the second attempt; it doubles with each, to a minute at most."""
    endpoints_gone_s: float = 600.0
    """When no endpoint has answered for so long, the engine is given up."""

    def lineage(self) -> dict[str, str | int | None]:
        """What changes the rows. Where an endpoint is does not: a run may go on with others."""
        if self.endpoints:
            return {
                "engine": "endpoints",
                "model": self.model,
                "revision": self.revision,
                "image_format": self.image_format,
            }
        return {
            "model": self.model,
            "revision": self.revision,
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
        }
