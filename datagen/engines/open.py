"""From a configuration to the engine that it describes."""

from __future__ import annotations

from datagen.engines.chat import ChatEngine
from datagen.engines.config import EngineConfig


def open_engine(config: EngineConfig) -> ChatEngine:
    """Start the engine. Call it in the process that will use it.

    Raises:
        ModelNotFoundError: there is no such model.
        EngineDeadError: the engine did not start, or no endpoint answers.
    """
    if config.endpoints:
        from datagen.engines.openai_engine import OpenAIEngine

        return OpenAIEngine(config)
    from datagen.engines.vllm_engine import VllmEngine

    return VllmEngine(config)
