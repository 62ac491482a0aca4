"""A real `vllm serve` as the endpoint: pictures, counts, refusals, and a whole stage."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import pytest
import ray

from datagen.captions.stage import CaptionsConfig, CaptionsStage
from datagen.demo.language import long_caption
from datagen.demo.world import make_scene
from datagen.engines.chat import ChatRequest
from datagen.engines.config import EngineConfig
from datagen.engines.errors import EngineDeadError, ModelNotFoundError, RequestError
from datagen.engines.open import check_engine, open_engine
from datagen.regions.descriptions import DescriptionsConfig
from datagen.regions.stage import CaptionedImage, RegionsConfig, RegionsStage
from datagen.runner import RunConfig, run_stage
from datagen.texts.checks import words
from tests.engines.endpoint_fakes import free_port
from tests.engines.vllm_samples import (
    CAPTIONER,
    LONG_PROMPT,
    ROOT,
    SHORT_PROMPT,
    encoded,
    make_images,
    question,
)

KEY = "sk-of-the-test"
NAME = "captioner"
START_S = 600.0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    port, log = free_port(), tmp_path_factory.mktemp("serve") / "log.txt"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_API_KEY": KEY,
    }
    command = [
        # `vllm serve` by its module: the command does not start where vLLM's package is vllm-cpu.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", CAPTIONER,
        "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "32",
        "--enforce-eager", "--block-size", "32", "--no-enable-chunked-prefill",
        "--enable-prompt-tokens-details", "--limit-mm-per-prompt", json.dumps({"image": 1}),
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(log.read_text()[-3000:], pytrace=False)
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def config(server, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    absent = f"http://127.0.0.1:{free_port()}/v1"  # one of the two is not there
    return EngineConfig(
        model=NAME, endpoints=(server, absent), api_key_env="TEST_KEY", image_format="png"
    )


def ask(config, *requests):
    async def run():
        engine = open_engine(config)
        try:
            chats = (engine.chat(request) for request in requests)
            return await asyncio.gather(*chats, return_exceptions=True), engine.usage
        finally:
            await engine.close()

    return asyncio.run(run())


def test_pictures_are_captioned_and_tokens_counted(config):
    check_engine(config)
    replies, usage = ask(config, *(question(number) for number in range(20)))
    assert all(reply.text and reply.finish_reason in ("stop", "length") for reply in replies)
    assert len({reply.text for reply in replies}) > 1  # it saw the pictures
    assert usage.prompt_tokens == sum(reply.prompt_tokens for reply in replies) > 20 * 64
    ((again,), _) = ask(config, question(3))
    assert again.cached_tokens > 0


def test_a_caption_that_is_cut_off_says_so(config):
    ((reply,), _) = ask(config, question(1, max_tokens=3))
    assert (reply.finish_reason, reply.output_tokens) == ("length", 3)


def test_a_request_too_long_is_refused_with_the_servers_reason(config):
    ((error,), _) = ask(config, ChatRequest(text="red " * 600))
    assert isinstance(error, RequestError) and "512" in str(error)


def test_a_wrong_key_and_a_wrong_model_are_found_before_anything_starts(config, monkeypatch):
    with pytest.raises(ModelNotFoundError, match="it serves captioner"):
        check_engine(replace(config, model="another"))
    monkeypatch.setenv("TEST_KEY", "wrong")
    with pytest.raises(EngineDeadError, match="TEST_KEY holds a key that it refuses"):
        check_engine(config)


def test_a_stage_runs_on_endpoints(config, tmp_path):
    dataset = make_images(tmp_path, rows=60, shard_rows=20)
    stage = CaptionsStage(
        CaptionsConfig(
            engine=config, long_prompt=LONG_PROMPT, short_prompt=SHORT_PROMPT, max_side=128
        )
    )
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "TEST_KEY": KEY}},
    )
    try:
        summary = run_stage(stage, dataset, RunConfig(rows_in_flight=32))
    finally:
        ray.shutdown()
    assert summary.rows_in == 60 and summary.dead_letters <= 1  # the captioner is not perfect
    assert summary.usage.requests >= 120
    written = "".join(
        file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()
    )
    assert KEY not in written


def test_regions_are_described_from_their_crops(config, tmp_path):
    prompt = tmp_path / "describe.md"  # near to what the tiny captioner was trained on
    prompt.write_text(
        "---\nname: describe\nversion: 1\nmax_tokens: 48\ntemperature: 0.0\n---\n"
        "Name the objects in the picture briefly. {phrase}\n"
    )
    stage = RegionsStage(
        RegionsConfig(detector=str(ROOT / "datagen/demo/models/detector")),
        DescriptionsConfig(engine=config, prompt=str(prompt)),
    )
    captions = [long_caption(make_scene("tiny-test", number)) for number in range(8)]
    items = [
        CaptionedImage(f"{number:032x}", encoded(number), caption)
        for number, caption in enumerate(captions)
    ]

    async def run():
        stage.check()
        await stage.open()
        try:
            return await asyncio.gather(*map(stage.process, items))
        finally:
            await stage.close()

    described = colours = 0
    for (*regions, _), caption in zip(asyncio.run(run()), captions, strict=True):
        for region in regions:
            assert region.description_from in ("captioner", "sentence")
            if region.description_from == "sentence":
                assert region.description in caption
                continue
            *_, colour, _, kind = region.phrase.split()  # "a large red striped mug"
            assert kind in words(region.description)
            described += 1
            colours += colour in words(region.description)
    assert stage.usage().requests >= described > 0
    assert colours > described / 2  # it saw the thing and not another part of the picture
