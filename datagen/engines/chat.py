"""What every chat engine speaks: a request with text and perhaps an image, and its reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A form that the reply must take; exactly one of the three is set."""

    choice: tuple[str, ...] | None = None
    regex: str | None = None
    json_schema: str | None = None

    def __post_init__(self) -> None:
        if sum(form is not None for form in (self.choice, self.regex, self.json_schema)) != 1:
            raise ValueError("Structure takes exactly one of choice, regex and json_schema.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. `seed` comes from the row's id, so that a row repeats itself."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One turn. Constant text belongs into `system`, which is shared by prefix caching."""

    text: str
    system: str | None = None
    image: Image.Image | None = None
    structure: Structure | None = None
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """`finish_reason` is "stop" for a whole reply and "length" for one that was cut off."""

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an engine has done since it started. `cached_tokens` are prompt tokens not computed."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def cached_share(self) -> float:
        """Share of the prompts' tokens that came out of the prefix cache, 0..1; 0 of none."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0

    def add(self, reply: ChatReply) -> Usage:
        """This usage and one more reply."""
        return Usage(
            requests=self.requests + 1,
            prompt_tokens=self.prompt_tokens + reply.prompt_tokens,
            cached_tokens=self.cached_tokens + reply.cached_tokens,
            output_tokens=self.output_tokens + reply.output_tokens,
        )

    def plus(self, other: Usage) -> Usage:
        """The sum of two."""
        return Usage(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class ChatEngine(Protocol):
    """An engine takes many requests at once; each call awaits its own reply."""

    usage: Usage

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answer one request.

        Raises:
            RequestError: this request cannot be answered; others can.
            EngineDeadError: the engine is gone; the process that holds it must end.
        """
        ...

    async def close(self) -> None:
        """Free what the engine holds."""
        ...
