"""From a configuration to the engine that it describes, or to why there is none."""

from __future__ import annotations

from datagen.engines.chat import ChatEngine
from datagen.engines.config import EngineConfig


def check_engine(config: EngineConfig) -> None:
    """Look, cheaply and before anything large is started, whether the model can be served.

    Raises:
        ModelNotFoundError: there is no such model, or no endpoint serves it.
        EngineDeadError: no endpoint answers, or one refuses the key.
    """
    if config.endpoints:
        from datagen.engines.endpoints import check_endpoints

        check_endpoints(config)
    else:
        from datagen.engines.models import check_model

        check_model(config.model, config.revision)


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
