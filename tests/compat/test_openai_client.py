"""The OpenAI door with the unmodified ``openai`` client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import openai
import pytest
from fake_services import Rig
from gateway_fakes import FakeTicket, definition, fail, hold, receipt, view
from wires import gateway, run

from coldspark.doors.openai.errors import error_json, error_reply
from coldspark.errors import BY_CODE, ArtifactUnavailable, ColdsparkError, EnvironmentFailed
from coldspark.platform.ports import Invocation, Sink
from coldspark.spec.types import Failure, FailureKind

MESSAGES: Any = [{"role": "user", "content": "Hello?"}]
CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"chat",'
    b'"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
)


@asynccontextmanager
async def served(
    rig: Rig, *, key: str = "anything", **options: Any
) -> AsyncIterator[openai.AsyncOpenAI]:
    """Run a gateway, and a client that knows nothing of it but the address."""
    async with gateway(rig.context()) as wired:
        options = {"max_retries": 0, **options}
        async with openai.AsyncOpenAI(base_url=f"{wired.url}/v1", api_key=key, **options) as client:
            yield client


def reply(body: dict[str, Any]) -> Callable[[Invocation, Sink], None]:
    """Answer with JSON."""

    def script(invocation: Invocation, sink: Sink) -> None:
        content = msgspec.json.encode(body)
        sink.reply(200, [("content-type", "application/json")], content, receipt(invocation))

    return script


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "chat",
        "choices": [choice],
    }


def test_chat_names_the_endpoint_as_its_model() -> None:
    """The body goes through untouched, to the same path of the command's server."""

    async def main() -> None:
        rig = Rig()
        rig.platform.script = reply(completion("hi"))
        async with served(rig) as client:
            answer = await client.chat.completions.create(model="chat/large", messages=MESSAGES)
        assert answer.choices[0].message.content == "hi"
        (invocation,) = rig.platform.invocations
        assert answer._request_id == invocation.request
        assert invocation.endpoint == "chat"
        assert invocation.path == "/v1/chat/completions"
        assert ("x-coldspark-path", "/v1/chat/completions") in invocation.headers
        assert "authorization" not in dict(invocation.headers)
        assert msgspec.json.decode(invocation.body)["model"] == "chat/large"

    run(main())


def test_completions_and_embeddings_go_the_same_way() -> None:
    """Each on its own path."""

    async def main() -> None:
        rig = Rig()
        async with served(rig) as client:
            text = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
            rig.platform.script = reply(text | {"choices": []})
            await client.completions.create(model="m", prompt="x")
            vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            body = {"object": "list", "data": [vector], "model": "m", "usage": usage}
            rig.platform.script = reply(body)
            made = await client.embeddings.create(model="m", input="x", encoding_format="float")
        assert made.data[0].embedding == [0.5, 0.25]
        paths = [one.path for one in rig.platform.invocations]
        assert paths == ["/v1/completions", "/v1/embeddings"]

    run(main())


async def held(rig: Rig, call: Awaitable[Any]) -> tuple[FakeTicket, asyncio.Task[Any]]:
    """Begin a call and return its ticket once the platform has it."""
    arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
    rig.platform.script = hold
    rig.platform.on_submit = arrived.put_nowait
    task = asyncio.ensure_future(call)
    return await arrived.get(), task


def test_a_stream_arrives_chunk_by_chunk() -> None:
    """Each event is there before the next one is sent."""

    async def main() -> None:
        rig = Rig()
        async with served(rig) as client:
            call = client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
            ticket, task = await held(rig, call)
            ticket.sink.begin(200, [("content-type", "text/event-stream")])
            stream = await task
            for word in (b"one", b"two", b"three"):
                ticket.sink.write(CHUNK % word)
                assert (await anext(stream)).choices[0].delta.content == word.decode()
            ticket.sink.write(b"data: [DONE]\n\n")
            ticket.sink.end(receipt(ticket.invocation))
            with pytest.raises(StopAsyncIteration):
                await anext(stream)

    run(main())


def test_leaving_a_stream_cancels_the_request() -> None:
    """The replica stops, and so does the cost."""

    async def main() -> None:
        rig = Rig()
        async with served(rig) as client:
            call = client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
            ticket, task = await held(rig, call)
            cancelled = asyncio.Event()
            ticket.on_said = lambda word: cancelled.set()
            ticket.sink.begin(200, [("content-type", "text/event-stream")])
            stream = await task
            ticket.sink.write(CHUNK % b"one")
            await anext(stream)
            await stream.close()
            await cancelled.wait()
            assert ticket.said == ["cancel"]

    run(main())


def test_a_stream_that_breaks_raises_with_the_reason() -> None:
    """The error is an event of the stream before it is cut."""

    async def main() -> None:
        rig = Rig()
        async with served(rig) as client:
            call = client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
            ticket, task = await held(rig, call)
            ticket.sink.begin(200, [("content-type", "text/event-stream")])
            stream = await task
            ticket.sink.write(CHUNK % b"one")
            await anext(stream)
            fail(FailureKind.REPLICA_DIED, "killed by signal 9")(ticket.invocation, ticket.sink)
            with pytest.raises(openai.APIError, match="killed by signal 9"):
                await anext(stream)

    run(main())


def test_models_are_endpoints() -> None:
    """Listed by name, looked up one by one."""

    async def main() -> None:
        rig = Rig()
        rig.platform.views = {name: view(definition(name)) for name in ("b", "a")}
        async with served(rig) as client:
            assert [model.id async for model in client.models.list()] == ["a", "b"]
            assert (await client.models.retrieve("a")).created == 1_700_000_000
            with pytest.raises(openai.NotFoundError) as caught:
                await client.models.retrieve("c")
        assert caught.value.code == "model_not_found"

    run(main())


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        (FailureKind.QUEUE_FULL, openai.RateLimitError, "rate_limit_exceeded"),
        (FailureKind.NO_ROOM, openai.InternalServerError, "no_room"),
        (FailureKind.HANDLER_FAILED, openai.InternalServerError, "handler_failed"),
        (FailureKind.START_FAILED, openai.InternalServerError, "start_failed"),
        (FailureKind.TIMED_OUT, openai.InternalServerError, "timeout"),
        (FailureKind.ENDPOINT_RETIRED, openai.NotFoundError, "model_not_found"),
        (FailureKind.BODY_TOO_LARGE, openai.APIStatusError, "request_too_large"),
    ],
)
def test_failures_raise_the_client_s_own_exceptions(
    kind: FailureKind, error: type[openai.APIStatusError], code: str
) -> None:
    """With the platform's message and code."""

    async def main() -> None:
        rig = Rig()
        rig.platform.script = fail(kind, "it went wrong", log_tail=("last line",))
        async with served(rig) as client:
            with pytest.raises(error) as caught:
                await client.chat.completions.create(model="chat", messages=MESSAGES)
        assert caught.value.code == code
        assert "it went wrong\nlast line" in caught.value.message
        assert caught.value.request_id == rig.platform.invocations[0].request

    run(main())


def test_every_error_has_a_code_of_its_own() -> None:
    """Only what nobody can name is an internal error."""
    codes = {
        name: msgspec.json.decode(error_json(kind("it went wrong")))["error"]["code"]
        for name, kind in BY_CODE.items()
    }
    assert [name for name, code in codes.items() if code == "internal_error"] == ["Internal"]


@pytest.mark.parametrize(
    ("kind", "code"),
    [(ArtifactUnavailable, "artifact_unavailable"), (EnvironmentFailed, "environment_failed")],
)
def test_what_a_start_lacks_is_told_once(kind: type[ColdsparkError], code: str) -> None:
    """Asking again fetches and builds the same in vain."""
    status, headers, body = error_reply(kind("it went wrong"))
    assert status == 424
    assert ("x-should-retry", "false") in headers
    assert msgspec.json.decode(body)["error"] == {
        "message": "it went wrong",
        "type": "server_error",
        "param": None,
        "code": code,
    }


def test_a_model_that_does_not_exist_is_not_found() -> None:
    """As the client expects it: 404, ``model_not_found``, param ``model``."""

    async def main() -> None:
        rig = Rig()
        failure = Failure(kind=FailureKind.NOT_FOUND, message="no endpoint 'gpt-9'")
        rig.platform.script = lambda invocation, sink: sink.fail(failure, None)
        async with served(rig) as client:
            with pytest.raises(openai.NotFoundError) as caught:
                await client.chat.completions.create(model="gpt-9", messages=MESSAGES)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")

    run(main())


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [(FailureKind.QUEUE_FULL, 3), (FailureKind.HANDLER_FAILED, 1), (FailureKind.TIMED_OUT, 1)],
)
def test_the_client_retries_only_what_has_not_run(kind: FailureKind, attempts: int) -> None:
    """A full queue may have room a moment later; what has run is not paid twice."""

    async def main() -> None:
        rig = Rig()
        rig.platform.script = fail(kind, retry_after_s=0.001)
        async with served(rig, max_retries=2) as client:
            client._calculate_retry_timeout = lambda *_: 0.0  # type: ignore[method-assign]
            with pytest.raises(openai.APIStatusError):
                await client.chat.completions.create(model="chat", messages=MESSAGES)
        assert len(rig.platform.invocations) == attempts

    run(main())


def test_a_wrong_key_is_an_authentication_error() -> None:
    """Also for the list of models."""

    async def main() -> None:
        rig = Rig()
        rig.keys.add("mine", "invoke:chat")
        async with served(rig, key="wrong") as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.chat.completions.create(model="chat", messages=MESSAGES)
            assert caught.value.code == "invalid_api_key"
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        async with served(rig, key="CSKmine") as client:
            with pytest.raises(openai.PermissionDeniedError):
                await client.chat.completions.create(model="other", messages=MESSAGES)
            rig.platform.script = reply(completion("hi"))
            await client.chat.completions.create(model="chat", messages=MESSAGES)

    run(main())


def test_the_client_s_own_time_limit_cancels_the_request() -> None:
    """It hangs up; the platform hears of it."""

    async def main() -> None:
        rig = Rig()
        async with served(rig) as client:
            call = client.chat.completions.create(model="chat", messages=MESSAGES, timeout=0.05)
            ticket, task = await held(rig, call)
            cancelled = asyncio.Event()
            ticket.on_said = lambda word: cancelled.set()
            with pytest.raises(openai.APITimeoutError):
                await task
            await cancelled.wait()

    run(main())


def test_a_request_without_a_model_is_a_bad_request() -> None:
    """The field is named."""

    async def main() -> None:
        rig = Rig()
        async with served(rig) as client:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(model=7, messages=MESSAGES)  # type: ignore[call-overload]
        assert caught.value.param == "model"
        assert not rig.platform.invocations

    run(main())


def test_what_is_not_served_is_said_in_the_client_s_words() -> None:
    """Other paths of OpenAI's API are 404, with what there is."""

    async def main() -> None:
        async with served(Rig()) as client:
            with pytest.raises(openai.NotFoundError, match="/v1/chat/completions"):
                await client.responses.create(model="chat", input="x")

    run(main())


@pytest.mark.parametrize("body", [b'{"model":"\xff"}', b'{"model":"chat","a":' + b"[" * 100_000])
def test_a_body_that_is_no_json_is_the_callers_mistake(body: bytes) -> None:
    """What is no UTF-8 and what is nested beyond measure is not sent again, as a 500 would be."""

    async def main() -> None:
        async with gateway(Rig().context()) as wired:
            client = await wired.connect()
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: "
            client.send(head + str(len(body)).encode() + b"\r\n\r\n" + body)
            answer = await client.answer()
        assert answer.status == 400
        assert b"the body is not JSON" in answer.body

    run(main())
