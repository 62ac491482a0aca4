"""Any OpenAI-compatible endpoint as an engine: vllm serve, SGLang, a hosted service; or several."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import io
import json
import time
from typing import Any

from PIL import Image

from datagen.engines.chat import ChatReply, ChatRequest, Structure, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.endpoints import (
    MAX_WAIT_S,
    Endpoint,
    Endpoints,
    api_key,
    back_off,
    check_endpoints,
    refusal,
)
from datagen.engines.errors import EngineDeadError, RequestError

JPEG_QUALITY = 95
RETRIED = frozenset({408, 409, 425, 429})
"""Refusals that say "later"; so do all of 500 and above."""
_NO_CONNECTION = frozenset({"ConnectError", "ConnectTimeout"})
_VALUE = "value"


class _FailedAttempt(Exception):
    """This attempt failed, another may not."""


class OpenAIEngine:
    """A `ChatEngine` on HTTP endpoints. Make it inside the event loop that will use it.

    Raises:
        ModelNotFoundError: an endpoint does not serve the model.
        EngineDeadError: no endpoint answers, or one refuses the key.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.usage = Usage()
        check_endpoints(config)
        self._endpoints = Endpoints(config)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answer one request; see `ChatEngine.chat`.

        Waiting for an endpoint that takes no connections is not an attempt.
        """
        arguments = await self._arguments(request)
        attempt = 0
        while True:
            endpoint = await self._endpoints.take()
            started = time.monotonic()
            try:
                reply = await self._attempt(endpoint, arguments, started)
            except _FailedAttempt as error:
                reason = self._redact(str(error))
            except ConnectionError:
                continue  # the endpoint rests now
            else:
                reply = _unwrap(reply, request.structure, self.config)
                self.usage = self.usage.add(reply)
                return reply
            finally:
                await self._endpoints.give_back(endpoint)
            attempt += 1
            if attempt >= self.config.max_attempts:
                raise RequestError(f"No answer in {attempt} attempts; the last: {reason}")
            await asyncio.sleep(back_off(self.config.retry_wait_s, attempt))

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoints.close()

    async def _attempt(
        self, endpoint: Endpoint, arguments: dict[str, Any], started: float
    ) -> ChatReply:
        """One request to one endpoint.

        Raises:
            _FailedAttempt: try again.
            ConnectionError: the endpoint is not there.
            RequestError: the endpoint refuses this request, and would again.
            EngineDeadError: it would refuse every request.
        """
        from openai import APIConnectionError, APIStatusError, OpenAIError

        limit = self.config.request_timeout_s
        try:
            async with asyncio.timeout(limit):  # in all; the client's own is between two reads
                completion = await endpoint.client.chat.completions.create(**arguments)
            reply = _reply(completion)
        except TimeoutError:
            endpoint.failed(started, gone=False)
            raise _FailedAttempt(f"{endpoint.name}: no answer within {limit:g} s") from None
        except APIStatusError as error:
            self._refused(endpoint, error, started)
            raise _FailedAttempt(f"{endpoint.name}: {_told(error)}") from error
        except APIConnectionError as error:
            cause = type(error.__cause__).__name__
            gone = cause in _NO_CONNECTION
            endpoint.failed(started, gone=gone)
            if gone:
                raise ConnectionError(endpoint.name) from error
            raise _FailedAttempt(f"{endpoint.name}: {error} ({cause})") from error
        except (OpenAIError, ValueError, TypeError, AttributeError, LookupError) as error:
            endpoint.failed(started, gone=False)
            raise _FailedAttempt(
                f"{endpoint.name}: the answer is no chat completion "
                f"({type(error).__name__}: {str(error)[:200]})"
            ) from error
        endpoint.succeeded()
        return reply

    def _refused(self, endpoint: Endpoint, error: Any, started: float) -> None:
        """Return if another attempt makes sense."""
        status = error.status_code
        retry_after_s = _retry_after(error.response.headers.get("retry-after"))
        if status in (401, 403):
            raise EngineDeadError(refusal(endpoint.name, status, self.config)) from None
        if status == 404:
            raise EngineDeadError(
                f"{endpoint.name} does not serve {self.config.model!r}: "
                f"{self._redact(_told(error))}"
            ) from None
        if status == 429:
            endpoint.throttled(started, retry_after_s)
        elif status in RETRIED or status >= 500:
            endpoint.failed(started, gone=False, retry_after_s=retry_after_s)
        else:
            endpoint.succeeded()
            reason = self._redact(_told(error))
            raise RequestError(f"{endpoint.name} refuses the request: {reason}") from None

    async def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        """The keyword arguments of `chat.completions.create`."""
        sampling, vllm = request.sampling, self.config.dialect == "vllm"
        content: Any = request.text
        if request.image is not None:
            url = await asyncio.to_thread(data_url, request.image, self.config.image_format)
            content = [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": request.text},
            ]
        system = [{"role": "system", "content": request.system}] if request.system else []
        arguments: dict[str, Any] = {
            "model": self.config.model,
            "messages": [*system, {"role": "user", "content": content}],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "max_tokens" if vllm else "max_completion_tokens": sampling.max_tokens,
        }
        if request.structure is not None:
            if vllm:
                arguments["extra_body"] = {"structured_outputs": _structured(request.structure)}
            else:
                arguments["response_format"] = _response_format(request.structure)
        return arguments

    def _redact(self, text: str) -> str:
        key = api_key(self.config)
        return text.replace(key, "***") if key else text


def data_url(picture: Image.Image, image_format: str) -> str:
    """An RGB picture as a data: URL."""
    buffer = io.BytesIO()
    picture.save(
        buffer, image_format, **({"quality": JPEG_QUALITY} if image_format == "jpeg" else {})
    )
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _structured(structure: Structure) -> dict[str, Any]:
    """vLLM's extra body."""
    if structure.choice is not None:
        return {"choice": list(structure.choice)}
    if structure.regex is not None:
        return {"regex": structure.regex}
    return {"json": json.loads(structure.json_schema or "")}


def _response_format(structure: Structure) -> dict[str, Any]:
    """OpenAI's; its top must be an object, so a choice or an expression is a field of one."""
    if structure.json_schema is not None:
        schema = json.loads(structure.json_schema)
    else:
        form = (
            {"type": "string", "enum": list(structure.choice)}
            if structure.choice is not None
            else {"type": "string", "pattern": f"^(?:{structure.regex})$"}
        )
        schema = {
            "type": "object",
            "properties": {_VALUE: form},
            "required": [_VALUE],
            "additionalProperties": False,
        }
    return {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": True, "schema": schema},
    }


def _unwrap(reply: ChatReply, structure: Structure | None, config: EngineConfig) -> ChatReply:
    """Take a choice or an expression out of the object of `_response_format`."""
    if config.dialect == "vllm" or structure is None or structure.json_schema is not None:
        return reply
    try:
        value = json.loads(reply.text)[_VALUE]
    except (ValueError, LookupError, TypeError):
        raise RequestError(
            f"The endpoint does not follow structures: it answered {reply.text[:200]!r} and ended "
            f"with {reply.finish_reason!r}."
        ) from None
    return ChatReply(
        text=str(value),
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        output_tokens=reply.output_tokens,
        cached_tokens=reply.cached_tokens,
    )


def _reply(completion: Any) -> ChatReply:
    """Read a completion; whatever is not as it should be raises a built-in error.

    Raises:
        RequestError: the model declined to answer.
    """
    choice, usage = completion.choices[0], completion.usage
    if refusal := getattr(choice.message, "refusal", None):
        raise RequestError(f"The model declined: {refusal[:200]}")
    if choice.finish_reason == "content_filter":
        raise RequestError("The endpoint's content filter withheld the answer.")
    details = usage.prompt_tokens_details if usage else None
    return ChatReply(
        text=(choice.message.content or "").strip(),
        finish_reason=choice.finish_reason or "unknown",
        prompt_tokens=int(usage.prompt_tokens) if usage else 0,
        output_tokens=int(usage.completion_tokens) if usage else 0,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
    )


def _told(error: Any) -> str:
    """Status and message of a refusal, in one line."""
    return f"status {error.status_code}: {' '.join(str(error.message).split())[:500]}"


def _retry_after(header: str | None) -> float | None:
    """Seconds, from a number or an HTTP date; at most `MAX_WAIT_S` times ten."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), 10 * MAX_WAIT_S)
