"""The real vLLM on the CPU: it answers, frees what is cancelled, and says why it fails.

The tests share one engine and run in the order of this file: the last ones kill it.
"""

import asyncio
import json
import logging.config
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from vllm.renderers.params import ChatParams

from datagen.engines.chat import ChatReply, ChatRequest, Sampling, Structure
from datagen.engines.config import EngineConfig
from datagen.engines.errors import EngineDeadError, ModelNotFoundError, RequestError
from datagen.engines.open import open_engine
from datagen.engines.vllm_engine import _messages
from datagen.engines.vllm_process import ProcessLog, ProcessNotes
from tests.engines.vllm_samples import CAPTIONER, CONFIG, question


class InThread:
    """An engine and the event loop that it needs, for all tests of this file."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        before = set(psutil.Process().children(recursive=True))
        self.engine = self.run(self._open())
        children = [p for p in psutil.Process().children(recursive=True) if p not in before]
        self.processes = [p for p in children if "resource_tracker" not in " ".join(p.cmdline())]

    async def _open(self):
        return open_engine(CONFIG)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def chat(self, *requests):
        async def chats():
            return await asyncio.gather(
                *(self.engine.chat(request) for request in requests), return_exceptions=True
            )

        return self.run(chats())

    def unfinished(self):
        return self.engine._engine.get_num_unfinished_requests()


@pytest.fixture(scope="module")
def vllm():
    engine = InThread()
    yield engine
    engine.run(engine.engine.close())
    engine.loop.call_soon_threadsafe(engine.loop.stop)


def test_it_answers_and_counts(vllm):
    replies = vllm.chat(*(question(number) for number in range(40)))
    assert all(reply.text and reply.output_tokens and reply.prompt_tokens for reply in replies)
    usage = vllm.engine.usage
    assert usage.requests == 40
    assert usage.output_tokens == sum(reply.output_tokens for reply in replies)
    (again,) = vllm.chat(question(3))
    assert again.text == replies[3].text
    assert again.cached_tokens > 0  # the same picture and prompt: served from the prefix cache


def test_an_answer_that_vllm_breaks_off_is_an_error_of_its_request(vllm):
    structure = Structure(choice=("red", "blue"))  # the tokenizer of whole words cannot follow one
    error, reply = vllm.chat(replace(question(1), structure=structure), question(2))
    assert isinstance(error, RequestError) and "ended it with 'error'" in str(error)
    assert reply.text


def test_a_request_that_cannot_be_is_refused_and_harms_no_other(vllm):
    too_long = ChatRequest(text="red " * 600)
    error, reply = vllm.chat(too_long, question(1))
    assert isinstance(error, RequestError)
    assert reply.text


def long_questions(number):
    endless = Sampling(max_tokens=400, temperature=2.0)
    return [replace(question(n), sampling=replace(endless, seed=n)) for n in range(number)]


def test_a_cancelled_request_leaves_the_engine(vllm):
    async def cancel():
        tasks = [asyncio.create_task(vllm.engine.chat(request)) for request in long_questions(64)]
        while vllm.unfinished() < 32:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return vllm.unfinished()

    assert vllm.run(cancel()) == 0
    assert vllm.chat(question(1))[0].text


def test_a_picture_that_was_lost_on_its_way_is_sent_again(vllm):
    """vLLM remembers a picture as sent when it is rendered; a cancelled request never sends it."""
    lost = [question(number) for number in range(700, 708)]

    async def render():
        parameters = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
        for request in lost:
            await vllm.engine._engine.renderer.render_chat_async([_messages(request)], parameters)

    vllm.run(render())
    replies = vllm.chat(*lost, *lost)
    assert all(isinstance(reply, ChatReply) and reply.text for reply in replies), replies


def test_a_request_that_takes_too_long_is_given_up_and_leaves_the_engine(vllm, monkeypatch):
    monkeypatch.setattr(vllm.engine, "config", replace(CONFIG, request_timeout_s=0.3))
    monkeypatch.setattr("datagen.engines.vllm_engine.RESPONSE_TIMEOUT_S", 60.0)
    errors = [e for e in vllm.chat(*long_questions(400)) if isinstance(e, Exception)]
    assert errors and {type(error) for error in errors} <= {RequestError, EngineDeadError}
    assert "no answer within 0.3 s" in str(errors[0]) or "hangs" in str(errors[0])
    assert vllm.unfinished() == 0


def test_an_engine_that_hangs_is_found_out(vllm, monkeypatch):
    monkeypatch.setattr(vllm.engine, "config", replace(CONFIG, request_timeout_s=1.0))
    for process in vllm.processes:
        process.suspend()
    try:
        (error,) = vllm.chat(question(1))
    finally:
        for process in vllm.processes:
            process.resume()
    assert isinstance(error, EngineDeadError) and "hangs" in str(error)


def test_killed_under_load_it_fails_all_that_wait_and_close_leaves_no_process(vllm):
    async def kill():
        tasks = [asyncio.create_task(vllm.engine.chat(request)) for request in long_questions(200)]
        while vllm.unfinished() < 64:
            await asyncio.sleep(0.01)
        os.kill(vllm.processes[0].pid, signal.SIGKILL)
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await vllm.engine.chat(question(1))
        except Exception as error:
            errors.append(error)
        return errors

    failed = [result for result in vllm.run(kill()) if isinstance(result, Exception)]
    assert len(failed) >= 64
    assert {type(error) for error in failed} == {EngineDeadError}
    assert CAPTIONER in str(failed[0]) and "ended from outside" in str(failed[0])
    vllm.run(vllm.engine.close())
    psutil.wait_procs(vllm.processes, timeout=60)
    assert not any(process.is_running() for process in vllm.processes)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(ModelNotFoundError, match="/nowhere"):
        open_engine(EngineConfig(model="/nowhere"))


def test_too_long_a_context_is_said_in_a_sentence():
    with pytest.raises(EngineDeadError, match=r"max_model_len \(1000000\).*max_model_len \(now"):
        open_engine(replace(CONFIG, max_model_len=1_000_000))


def test_want_of_memory_says_what_to_set(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "100000")
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(EngineDeadError, match=r"memory.*VLLM_CPU_KVCACHE_SPACE \(GiB, now 100000"):
        open_engine(CONFIG)
    left = [p for p in psutil.Process().children(recursive=True) if p not in before]
    psutil.wait_procs(left, timeout=60)
    assert not [p for p in left if p.is_running() and "VLLM" in " ".join(p.cmdline())]


def test_what_killed_an_engine_is_not_an_old_failure_of_a_request(monkeypatch):
    notes = ProcessNotes()
    log = ProcessLog(owner=0, errors=str(notes._errors))
    for age, name in ((3600, "of a request"), (5, "the cause"), (4, "a consequence")):
        now = time.time() - age
        with monkeypatch.context() as patch:
            patch.setattr("datagen.engines.vllm_process.time.time", lambda now=now: now)
            error = ValueError(name)
            log.emit(logging.LogRecord("", 0, "", 0, "", None, (ValueError, error, None)))
    assert notes.first_error(within_s=60) == "ValueError: the cause"
    assert notes.first_error() == "ValueError: of a request"
    assert ProcessNotes().first_error() is None
    notes.close()


def child_of_an_engine(config):
    logging.config.dictConfig(config)
    time.sleep(3600)


def parent_with_a_child(config, pipe):
    child = multiprocessing.get_context("spawn").Process(target=child_of_an_engine, args=(config,))
    child.start()
    pipe.send(child.pid)
    time.sleep(3600)


def test_no_process_outlives_the_one_that_started_it():
    notes = ProcessNotes()
    base = {
        "version": 1,
        "handlers": {"none": {"class": "logging.NullHandler"}},
        "loggers": {"vllm": {"handlers": ["none"]}},
    }
    config = json.loads(Path(notes.logging_config(base)).read_text())
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    parent = spawn.Process(target=parent_with_a_child, args=(config, theirs))
    config["handlers"]["notes"]["owner"] = 0
    parent.start()
    child = psutil.Process(ours.recv())
    parent.kill()
    parent.join()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()
    notes.close()
