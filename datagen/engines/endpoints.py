"""OpenAI-compatible servers that share the work: the least loaded is chosen, a failing one rests.

How many requests a server is given at once follows TCP's slow start and congestion avoidance
(RFC 5681): unlimited until it fails; halved by a 429; one request after a failure, to see
whether it is back; one more with each success up to where it was, and slowly beyond.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from datagen.engines.config import EngineConfig
from datagen.engines.errors import EngineDeadError, ModelNotFoundError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_WAIT_S = 60.0
FAILURES_IN_A_ROW = 3
"""So many, and an endpoint rests; fewer may be the requests' own fault."""
CHECK_TIMEOUT_S = 10.0


def back_off(first_s: float, attempt: int) -> float:
    """Seconds to wait after failure number `attempt` (from 1): doubling, with jitter of a half."""
    return min(first_s * 2 ** (attempt - 1), MAX_WAIT_S) * random.uniform(0.5, 1.0)


class Endpoint:
    """One server: what it works on, how much it may be given, and whether it rests."""

    def __init__(self, url: str, client: AsyncOpenAI, retry_wait_s: float) -> None:
        self.name, self.client, self._retry_wait_s = shown(url), client, retry_wait_s
        self.in_flight = 0
        self.rests_until = 0.0
        self.failing = False
        self._limit = self._threshold = math.inf
        self._failures = self._rests = 0
        self._changed_at = 0.0

    def free(self, now: float) -> bool:
        """Whether it may be given a request."""
        return now >= self.rests_until and self.in_flight < self._limit

    def succeeded(self) -> None:
        """It answered as it should."""
        self.failing, self._failures, self._rests = False, 0, 0
        self._limit += 1 if self._limit < self._threshold else 1 / self._limit

    def throttled(self, started: float, retry_after_s: float | None) -> None:
        """It said 429 to a request sent at `started`. Of a burst, only the first counts."""
        if started >= self._changed_at:
            self._threshold = self._limit = max(1.0, min(self._limit, self.in_flight) // 2)
            self._rest(retry_after_s)

    def failed(self, started: float, *, gone: bool, retry_after_s: float | None = None) -> None:
        """It gave no usable answer; `gone` if it does not even take connections."""
        self._failures += 1
        if started >= self._changed_at and (gone or self._failures >= FAILURES_IN_A_ROW):
            self.failing, self._limit = True, 1.0
            self._rest(retry_after_s)

    def _rest(self, retry_after_s: float | None) -> None:
        self._rests += 1
        self._changed_at = time.monotonic()
        wait = back_off(self._retry_wait_s, self._rests)
        self.rests_until = self._changed_at + max(wait, retry_after_s or 0.0)


class Endpoints:
    """All endpoints of an engine."""

    def __init__(self, config: EngineConfig) -> None:
        from openai import AsyncOpenAI

        self._all = [
            Endpoint(
                url,
                AsyncOpenAI(
                    base_url=url,
                    api_key=api_key(config) or "none",
                    max_retries=0,  # a retry may go to another endpoint
                    timeout=config.request_timeout_s,
                ),
                config.retry_wait_s,
            )
            for url in config.endpoints
        ]
        self._gone_s = config.endpoints_gone_s
        self._gone_since: float | None = None
        self._freed = asyncio.Condition()

    async def take(self) -> Endpoint:
        """Wait for an endpoint that may be given a request; the least loaded of them.

        Raises:
            EngineDeadError: none has answered for longer than `endpoints_gone_s`.
        """
        while True:
            now = time.monotonic()
            self._watch(now)
            free = [endpoint for endpoint in self._all if endpoint.free(now)]
            if free:
                endpoint = min(free, key=lambda e: (e.in_flight, random.random()))
                endpoint.in_flight += 1
                return endpoint
            rest = max(min(e.rests_until for e in self._all) - now, 0.01)
            async with self._freed:
                try:
                    await asyncio.wait_for(self._freed.wait(), min(rest, 1.0))
                except TimeoutError:
                    continue

    async def give_back(self, endpoint: Endpoint) -> None:
        """A request to it has ended, well or not."""
        endpoint.in_flight -= 1
        async with self._freed:
            self._freed.notify(2)  # a success may have raised the limit by one

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(endpoint.client.close() for endpoint in self._all))

    def _watch(self, now: float) -> None:
        if not all(endpoint.failing for endpoint in self._all):
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        elif now - self._gone_since > self._gone_s:
            names = ", ".join(endpoint.name for endpoint in self._all)
            raise EngineDeadError(
                f"No endpoint has answered for {self._gone_s:.0f} s ({names}). Are the servers up? "
                "A longer wait is set with endpoints_gone_s."
            )


def check_endpoints(config: EngineConfig) -> None:
    """Ask every endpoint for its models. Those that do not answer now may come back later.

    Raises:
        ModelNotFoundError: an endpoint answers and does not serve the model.
        EngineDeadError: none answers, or one refuses the key.
    """
    with ThreadPoolExecutor(16) as pool:
        silent = list(pool.map(lambda url: _check(url, config), config.endpoints))
    if all(silent):
        raise EngineDeadError(f"No endpoint answers: {'; '.join(filter(None, silent))}.")


def _check(url: str, config: EngineConfig) -> str | None:
    """Why the endpoint gives no answer, or None."""
    from openai import (
        APIStatusError,
        AuthenticationError,
        OpenAI,
        OpenAIError,
        PermissionDeniedError,
    )

    try:
        with OpenAI(
            base_url=url,
            api_key=api_key(config) or "none",
            max_retries=0,
            timeout=CHECK_TIMEOUT_S,
        ) as client:
            served = [model.id for model in client.models.list()]
    except (AuthenticationError, PermissionDeniedError) as error:
        raise EngineDeadError(refusal(shown(url), error.status_code, config)) from None
    except APIStatusError as error:
        # Not every server lists its models; those that are down say 5xx.
        return f"{shown(url)} says {error.status_code}" if error.status_code >= 500 else None
    except (OpenAIError, ValueError, AttributeError, TypeError) as error:
        return f"{shown(url)}: {type(error).__name__}"
    if served and config.model not in served:
        raise ModelNotFoundError(
            f"{shown(url)} does not serve {config.model!r}; it serves {', '.join(served[:20])}."
        )
    return None


def api_key(config: EngineConfig) -> str | None:
    """The key from the environment; never to be shown."""
    return os.environ.get(config.api_key_env) or None


def refusal(name: str, status: int, config: EngineConfig) -> str:
    """What to tell of an endpoint that refuses the key."""
    known = "is not set" if api_key(config) is None else "holds a key that it refuses"
    return (
        f"{name} refuses access (status {status}): the environment variable "
        f"{config.api_key_env} {known}."
    )


def shown(url: str) -> str:
    """A URL without user, password and query, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
