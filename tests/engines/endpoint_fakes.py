"""A small HTTP server that speaks OpenAI's API and misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import deque

from aiohttp import web

MODEL = "tiny"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def completion(text: str = "a red mug", cached: int | None = 5, **choice) -> dict:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
                **choice,
            }
        ],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "total_tokens": 15,
            "prompt_tokens_details": None if cached is None else {"cached_tokens": cached},
        },
    }


class FakeEndpoint:
    """Runs in a thread of its own.

    Attributes:
        script: what the next requests meet, one each (see `_misbehave`); when it is empty,
            `always` is met.
        capacity: with more requests than this in flight it answers 429.
        hold: when cleared, answers wait until it is set.
    """

    def __init__(self, always: str = "ok", script: tuple[str, ...] = ()) -> None:
        self.always, self.script = always, deque(script)
        self.models, self.answer = [MODEL], completion()
        self.capacity: int | None = None
        self.requests: list[dict] = []
        self.authorization: list[str] = []
        self.in_flight = self.most_in_flight = self.answered = 0
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.hold = threading.Event()
        self.hold.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.hold.set()
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        """Take no connections and drop those that are open."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
            self._runner = None

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if self.always in ("401", "500"):
            return web.json_response({"error": {"message": "no"}}, status=int(self.always))
        models = [{"id": m, "object": "model", "created": 0, "owned_by": "x"} for m in self.models]
        return web.json_response({"object": "list", "data": models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.authorization.append(request.headers.get("Authorization", ""))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.capacity is not None and self.in_flight > self.capacity:
                return await self._misbehave("429", request)
            behaviour = self.script.popleft() if self.script else self.always
            if behaviour != "ok":
                return await self._misbehave(behaviour, request)
            while not self.hold.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            self.answered += 1
            return web.json_response(self.answer)
        finally:
            self.in_flight -= 1

    async def _misbehave(self, how: str, request: web.Request) -> web.StreamResponse:
        whole = json.dumps(self.answer)
        if how == "never":
            await asyncio.sleep(3600)
        if how == "close":
            assert request.transport is not None
            request.transport.close()
        bodies = {
            "garbage": "<html>down for maintenance</html>",
            "half": whole[: len(whole) // 2],
            "no choices": '{"choices": []}',
            "another object": '{"detail": "who are you?"}',
        }
        if how in bodies:
            return web.Response(text=bodies[how], content_type="application/json")
        if how.isdigit():
            told = f"no: {self.authorization[-1]}"  # some servers repeat the key
            return web.json_response({"error": {"message": told}}, status=int(how))
        return web.Response(text="")
