import asyncio

import pytest

from datagen.batcher import Batcher


def double(numbers):
    return [2 * number for number in numbers]


def test_calls_are_gathered_into_batches_and_each_gets_its_own_answer():
    sizes = []

    def function(numbers):
        sizes.append(len(numbers))
        return double(numbers)

    async def run():
        batcher = Batcher(function, max_batch=8, max_wait_s=0.5)
        try:
            return await asyncio.gather(*(batcher.submit(n) for n in range(20)))
        finally:
            await batcher.close()

    assert asyncio.run(run()) == [2 * n for n in range(20)]
    assert max(sizes) == 8
    assert sum(sizes) == 20


def test_a_bad_input_fails_alone():
    def function(numbers):
        if 3 in numbers:
            raise ValueError("three is bad")
        return double(numbers)

    async def run():
        batcher = Batcher(function, max_batch=8, max_wait_s=0.5)
        try:
            return await asyncio.gather(
                *(batcher.submit(n) for n in range(6)), return_exceptions=True
            )
        finally:
            await batcher.close()

    answers = asyncio.run(run())
    assert [a for a in answers if not isinstance(a, Exception)] == [0, 2, 4, 8, 10]
    assert "three is bad" in str(answers[3])


def test_a_caller_that_gives_up_does_not_disturb_the_others():
    async def run():
        batcher = Batcher(double, max_batch=8, max_wait_s=0.2)
        try:
            leaver = asyncio.create_task(batcher.submit(1))
            stayer = asyncio.create_task(batcher.submit(2))
            await asyncio.sleep(0)
            leaver.cancel()
            return await stayer
        finally:
            await batcher.close()

    assert asyncio.run(run()) == 4


def test_a_closed_batcher_says_so():
    async def run():
        batcher = Batcher(double)
        await batcher.close()
        await batcher.submit(1)

    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(run())


def test_answers_that_are_too_few_are_an_error():
    async def run():
        batcher = Batcher(lambda numbers: [])
        try:
            await batcher.submit(1)
        finally:
            await batcher.close()

    with pytest.raises(RuntimeError, match="0 outputs came for 1 input"):
        asyncio.run(run())
