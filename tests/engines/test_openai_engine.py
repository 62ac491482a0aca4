"""An endpoint may do what it likes: a request is answered, or ends with a reason."""

import asyncio
import base64
import io
import json
import threading
import time

import pytest
from PIL import Image

from datagen.engines.chat import ChatRequest, Sampling, Structure, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.endpoints import Endpoint
from datagen.engines.errors import EngineDeadError, ModelNotFoundError, RequestError
from datagen.engines.open import check_engine, open_engine
from datagen.engines.openai_engine import _retry_after
from tests.engines.endpoint_fakes import MODEL, FakeEndpoint, completion, free_port

FAULTS = ["429", "500", "503", "garbage", "half", "no choices", "another object", "close", "never"]


def config(*servers: FakeEndpoint, **changes) -> EngineConfig:
    base = {
        "model": MODEL,
        "request_timeout_s": 60.0,
        "retry_wait_s": 0.01,
        "max_attempts": 3,
    }
    return EngineConfig(endpoints=tuple(server.url for server in servers), **{**base, **changes})


def ask(config: EngineConfig, requests=None, then=None):
    """The replies, or the errors, of requests that are made all at once."""

    async def run():
        engine = open_engine(config)
        try:
            chats = [engine.chat(r) for r in requests or [ChatRequest(text="What is it?")]]
            replies = await asyncio.gather(*chats, return_exceptions=True)
            return [*replies, *([await then(engine)] if then else [])]
        finally:
            await engine.close()

    return asyncio.run(run())


def many(number: int) -> list[ChatRequest]:
    return [ChatRequest(text=f"number {i}") for i in range(number)]


def test_a_request_travels_whole_and_the_reply_is_counted():
    picture = Image.new("RGB", (40, 30), "red")
    request = ChatRequest(
        system="Be brief.",
        text="What is it?",
        image=picture,
        sampling=Sampling(max_tokens=7, temperature=0.5, top_p=0.9, seed=3),
    )

    async def usage(engine):
        return engine.usage

    with FakeEndpoint() as server:
        reply, used = ask(config(server, image_format="png"), [request], then=usage)
    assert (reply.text, reply.finish_reason) == ("a red mug", "stop")
    assert (reply.prompt_tokens, reply.output_tokens, reply.cached_tokens) == (12, 3, 5)
    assert used == Usage(requests=1, prompt_tokens=12, cached_tokens=5, output_tokens=3)
    (body,) = server.requests
    assert body["model"] == MODEL
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["seed"]) == (
        7,
        0.5,
        0.9,
        3,
    )
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    image, text = user["content"]
    assert text["text"] == "What is it?"
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as sent:
        assert sent.convert("RGB").tobytes() == picture.tobytes()


def test_pictures_travel_as_jpeg_unless_told_otherwise():
    with FakeEndpoint() as server:
        ask(config(server), [ChatRequest(text="?", image=Image.new("RGB", (8, 8)))])
    url = server.requests[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,/9j/")


SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}}'


@pytest.mark.parametrize(
    ("structure", "sent"),
    [
        (Structure(choice=("red", "blue")), {"choice": ["red", "blue"]}),
        (Structure(regex="(red|blue)"), {"regex": "(red|blue)"}),
        (Structure(json_schema=SCHEMA), {"json": json.loads(SCHEMA)}),
    ],
)
def test_structures_in_vllms_form(structure, sent):
    with FakeEndpoint() as server:
        ask(config(server), [ChatRequest(text="?", structure=structure)])
    assert server.requests[0]["structured_outputs"] == sent


@pytest.mark.parametrize(
    ("structure", "answer", "text", "form"),
    [
        (Structure(choice=("red", "blue")), '{"value": "blue"}', "blue", {"enum": ["red", "blue"]}),
        (Structure(regex="(a|b)c"), '{"value": "bc"}', "bc", {"pattern": "^(?:(a|b)c)$"}),
    ],
)
def test_structures_in_openais_form_are_unpacked_again(structure, answer, text, form):
    with FakeEndpoint() as server:
        server.answer = completion(answer)
        (reply,) = ask(
            config(server, dialect="openai"), [ChatRequest(text="?", structure=structure)]
        )
    assert reply.text == text
    (body,) = server.requests
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["value"] == {"type": "string", **form}
    assert "max_completion_tokens" in body and "max_tokens" not in body


def test_a_json_schema_in_openais_form_is_sent_as_it_is():
    with FakeEndpoint() as server:
        server.answer = completion('{"n": 3}')
        (reply,) = ask(
            config(server, dialect="openai"),
            [ChatRequest(text="?", structure=Structure(json_schema=SCHEMA))],
        )
    assert reply.text == '{"n": 3}'
    sent = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert sent == json.loads(SCHEMA)


def test_an_endpoint_that_ignores_structures_is_told_of():
    with FakeEndpoint() as server:
        (error,) = ask(
            config(server, dialect="openai"),
            [ChatRequest(text="?", structure=Structure(choice=("red",)))],
        )
    assert isinstance(error, RequestError) and "does not follow structures" in str(error)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_costs_an_attempt(fault):
    with FakeEndpoint(script=(fault,)) as server:
        limit = 2.0 if fault == "never" else 60.0
        (reply,) = ask(config(server, request_timeout_s=limit))
    assert reply.text == "a red mug"
    assert len(server.requests) >= 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429", "status 429"),
        ("500", "status 500"),
        ("garbage", "no chat completion"),
        ("half", "no chat completion"),
        ("another object", "no chat completion"),
        ("close", "Connection error"),
        ("never", "no answer within 0.4 s"),
    ],
)
def test_a_fault_that_stays_ends_in_an_error_with_its_reason(fault, reason):
    with FakeEndpoint(script=(fault,) * 9) as server:
        (error,) = ask(config(server, request_timeout_s=0.4 if fault == "never" else 60.0))
    assert isinstance(error, RequestError)
    assert "3 attempts" in str(error) and reason in str(error) and server.url in str(error)
    # On a busy machine, a request may be given up before it arrives.
    assert len(server.requests) == 3 or fault == "never"


@pytest.mark.parametrize("status", ["400", "413", "422"])
def test_a_refusal_of_one_request_is_final_and_harms_no_other(status):
    with FakeEndpoint(script=(status,)) as server:
        answers = ask(config(server), many(5))
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    assert len(errors) == 1 and isinstance(errors[0], RequestError)
    assert f"status {status}" in str(errors[0])
    assert len(server.requests) == 5


def test_a_model_that_declines_is_a_request_error():
    with FakeEndpoint() as server:
        server.answer = completion("", finish_reason="content_filter")
        (error,) = ask(config(server))
    assert isinstance(error, RequestError) and "content filter" in str(error)


def test_a_refused_key_ends_the_engine_and_is_never_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with FakeEndpoint(script=("401",)) as server:
        (error,) = ask(config(server, api_key_env="MY_KEY"))
    assert server.authorization == ["Bearer sk-secret"]
    assert isinstance(error, EngineDeadError)
    assert "MY_KEY" in str(error) and "sk-secret" not in str(error)


def test_a_key_that_a_server_repeats_is_not_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    setup = {"api_key_env": "MY_KEY"}
    with FakeEndpoint(script=("400", "500", "500", "500")) as server:
        refused = ask(config(server, **setup))
        failed = ask(config(server, **setup))
    assert len(server.requests) == 4
    assert "***" in str(refused) and "***" in str(failed)
    assert "sk-secret" not in repr(refused) + repr(failed)
    assert "sk-secret" not in str(config(server, **setup).lineage())


def test_a_model_that_goes_away_ends_the_engine():
    with FakeEndpoint(script=("404",)) as server:
        (error,) = ask(config(server))
    assert isinstance(error, EngineDeadError) and f"does not serve '{MODEL}'" in str(error)


def test_requests_go_to_the_least_loaded_endpoint():
    with FakeEndpoint() as stuck, FakeEndpoint() as quick:
        stuck.hold.clear()
        setup = config(stuck, quick)

        async def run():
            engine = open_engine(setup)
            try:
                gate = asyncio.Semaphore(4)  # so many are in flight at once

                async def one(request):
                    async with gate:
                        return await engine.chat(request)

                chats = asyncio.gather(*(one(request) for request in many(40)))
                while quick.answered < 36:
                    await asyncio.sleep(0.01)
                held = stuck.in_flight
                stuck.hold.set()
                await chats
                return held
            finally:
                await engine.close()

        # The stuck one is as loaded as the other when it has two, so it is given no third
        # while the other has fewer.
        assert asyncio.run(run()) <= 3


def test_a_dead_endpoint_rests_and_is_tried_again():
    with FakeEndpoint() as alive, FakeEndpoint() as dead:
        setup = config(alive, dead)
        dead.stop()

        async def until_back(engine):
            dead.start()
            while not dead.answered:
                await engine.chat(ChatRequest(text="?"))
            return "back"

        *replies, back = ask(setup, many(20), then=until_back)
    assert [reply.text for reply in replies] == ["a red mug"] * 20
    assert back == "back"


def test_requests_wait_for_an_only_endpoint_that_restarts():
    with FakeEndpoint() as server:
        setup = config(server, max_attempts=1)  # waiting is no attempt

        async def run():
            engine = open_engine(setup)
            try:
                server.stop()
                threading.Timer(1.0, server.start).start()
                return await asyncio.gather(*(engine.chat(request) for request in many(10)))
            finally:
                await engine.close()

        assert len(asyncio.run(run())) == 10


def test_when_all_endpoints_are_gone_for_long_the_engine_is_dead_for_all():
    with FakeEndpoint() as server:
        setup = config(server, endpoints_gone_s=0.5)

        async def run():
            engine = open_engine(setup)
            try:
                server.stop()
                chats = (engine.chat(request) for request in many(10))
                return await asyncio.gather(*chats, return_exceptions=True)
            finally:
                await engine.close()

        errors = asyncio.run(run())
    assert {type(error) for error in errors} == {EngineDeadError}
    assert server.url in str(errors[0]) and "endpoints_gone_s" in str(errors[0])


def test_an_endpoint_with_a_limit_is_given_what_it_takes_and_nothing_is_lost():
    with FakeEndpoint() as server:
        server.capacity = 4
        answers = ask(config(server, max_attempts=10, retry_wait_s=0.02), many(100))
    assert [str(answer) for answer in answers if isinstance(answer, Exception)] == []
    assert server.answered == 100


def test_a_cancelled_request_leaves_its_place_to_others():
    with FakeEndpoint() as server:
        server.hold.clear()
        setup = config(server)

        async def run():
            engine = open_engine(setup)
            try:
                first = [asyncio.create_task(engine.chat(request)) for request in many(5)]
                while server.in_flight < 5:
                    await asyncio.sleep(0.01)
                for task in first:
                    task.cancel()
                await asyncio.gather(*first, return_exceptions=True)
                server.hold.set()
                return await engine.chat(ChatRequest(text="?")), first
            finally:
                await engine.close()

        reply, first = asyncio.run(run())
    assert reply.text == "a red mug"
    assert all(task.cancelled() for task in first)


def test_check_finds_out_what_is_wrong_before_anything_starts():
    nobody = EngineConfig(model=MODEL, endpoints=(f"http://127.0.0.1:{free_port()}/v1",))
    with pytest.raises(EngineDeadError, match="No endpoint answers"):
        check_engine(nobody)
    with FakeEndpoint() as server:
        with pytest.raises(ModelNotFoundError, match=f"does not serve 'other'.*{MODEL}"):
            check_engine(config(server, model="other"))
        some = EngineConfig(model=MODEL, endpoints=(server.url, *nobody.endpoints))
        check_engine(some)  # the other one may come back
    with (
        FakeEndpoint(always="401") as server,
        pytest.raises(EngineDeadError, match="OPENAI_API_KEY"),
    ):
        check_engine(config(server))


def test_a_url_with_a_password_is_shown_without():
    url = f"http://me:hush@127.0.0.1:{free_port()}/v1"
    with pytest.raises(EngineDeadError) as error:
        check_engine(EngineConfig(model=MODEL, endpoints=(url,)))
    assert "hush" not in str(error.value)


def test_retry_after_is_obeyed():
    assert _retry_after("7") == 7
    assert _retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert _retry_after("soon") is None and _retry_after(None) is None
    endpoint = Endpoint("http://x/v1", client=None, retry_wait_s=0.01)
    now = time.monotonic()
    endpoint.throttled(now, retry_after_s=30)
    assert not endpoint.free(now + 29) and endpoint.free(now + 31)
