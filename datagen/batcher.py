"""From single awaited calls to batches: what models on one device want."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

InT = TypeVar("InT")
OutT = TypeVar("OutT")


class Batcher(Generic[InT, OutT]):
    """Gathers what is submitted at about the same time and calls `function` once for all of it.

    The function runs in one thread of its own, so it need not be thread-safe and the event loop
    stays free. When a batch fails, its members are tried one by one, so that a bad one fails
    alone. Make it inside the event loop that will use it, and close it at the end.

    Args:
        function: takes inputs, returns as many outputs in the same order.
        max_batch: largest number of inputs a call gets.
        max_wait_s: how long, in seconds, the first input of a batch waits for more.
    """

    def __init__(
        self,
        function: Callable[[Sequence[InT]], Sequence[OutT]],
        max_batch: int = 16,
        max_wait_s: float = 0.01,
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch is {max_batch}: it must be 1 or more.")
        self._function = function
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._queue: asyncio.Queue[tuple[InT, asyncio.Future[OutT]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def submit(self, item: InT) -> OutT:
        """The function's output for one input.

        Raises:
            Exception: whatever the function raised for this input.
            RuntimeError: the batcher is closed.
        """
        if self._task.done():
            raise RuntimeError("The batcher is closed.")
        future: asyncio.Future[OutT] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((item, future))
        return await future

    async def close(self) -> None:
        """Stop; what still waits is cancelled."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait()[1].cancel()
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            try:
                await self._fill(batch)
                await self._answer(batch)
            except asyncio.CancelledError:
                for _, future in batch:
                    future.cancel()
                raise

    async def _fill(self, batch: list[tuple[InT, asyncio.Future[OutT]]]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._max_wait_s
        while len(batch) < self._max_batch:
            if self._queue.empty():
                left = deadline - loop.time()
                if left <= 0:
                    return
                try:
                    batch.append(await asyncio.wait_for(self._queue.get(), left))
                except TimeoutError:
                    return
            else:
                batch.append(self._queue.get_nowait())

    async def _answer(self, batch: list[tuple[InT, asyncio.Future[OutT]]]) -> None:
        try:
            outputs = await self._call([item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1:
                for member in batch:
                    await self._answer([member])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, future), output in zip(batch, outputs, strict=True):
            if not future.done():  # its caller may have been cancelled
                future.set_result(output)

    async def _call(self, items: list[InT]) -> Sequence[OutT]:
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(self._thread, self._function, items)
        if len(outputs) != len(items):
            raise RuntimeError(f"{len(outputs)} outputs came for {len(items)} inputs.")
        return outputs
