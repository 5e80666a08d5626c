"""The unmodified openai client against a real language model on a real server process."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from coldspark.sdk.deploy import deploy

from real_server import Server, until  # isort: skip  (conftest makes it importable)

CHAT = Path(__file__).parents[2] / "examples/chat"
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
STORY: Any = [{"role": "user", "content": "Tell a very long story about a lighthouse."}]

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def client(real_server: Server) -> Iterator[openai.OpenAI]:
    """SmolLM2 with a single slot: one replica, one request at a time."""
    changes = {"scale": {"max": 1, "concurrency": 1}, "environment": {"CHAT_PARALLEL": "1"}}
    deploy(real_server.client, CHAT, changes)
    with openai.OpenAI(
        base_url=f"{real_server.url}/v1", api_key="any", max_retries=0, timeout=60
    ) as made:
        yield made
    real_server.client.remove("chat")


def ask(client: openai.OpenAI, tokens: int = 12) -> str:
    answer = client.chat.completions.create(
        model="chat", messages=QUESTION, max_tokens=tokens, temperature=0
    )
    return answer.choices[0].message.content or ""


def running(server: Server) -> int:
    """Return how many requests run in chat's replicas."""
    (variant,) = server.client.endpoint("chat")["variants"]
    return sum(replica["running"] for replica in variant["replicas"])


def test_the_endpoint_is_a_model_and_answers_from_zero(
    client: openai.OpenAI, real_server: Server
) -> None:
    """Listed, woken by the first question, and warm for the second."""
    assert "chat" in [model.id for model in client.models.list()]
    assert real_server.replicas("chat") == 0
    answer = client.chat.completions.create(
        model="chat", messages=QUESTION, max_tokens=12, temperature=0
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert len(answer.choices[0].message.content or "") > 12
    assert ask(client) == answer.choices[0].message.content
    cold = [line["is_cold"] for line in real_server.client.requests("chat")]
    assert cold == [False, True]


def test_a_stream_comes_token_by_token_and_ends_with_its_usage(client: openai.OpenAI) -> None:
    """Many chunks, each with a little of the text."""
    chunks = 0
    text, finish, usage = "", None, None
    stream = client.chat.completions.create(
        model="chat",
        messages=STORY,
        max_tokens=48,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            chunks += 1
    assert len(text) > 40
    assert finish == "length"
    assert usage is not None
    assert usage.completion_tokens == 48
    assert chunks > 24


def test_a_stream_ends_with_done(client: openai.OpenAI) -> None:
    """As the wire has it: the client itself swallows the mark."""
    with client.chat.completions.with_streaming_response.create(
        model="chat", messages=QUESTION, max_tokens=4, stream=True
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > 3


def test_a_model_that_does_not_exist_is_not_found(client: openai.OpenAI) -> None:
    """By the client's own exception, for a look and for a question."""
    with pytest.raises(openai.NotFoundError) as asked:
        client.chat.completions.create(model="gpt-9", messages=QUESTION)
    assert (asked.value.code, asked.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_a_mistake_in_the_question_is_the_models_own_error(client: openai.OpenAI) -> None:
    """The server behind the endpoint says what is wrong; the endpoint serves on."""
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="chat", messages=QUESTION, extra_body={"messages": "hello"}
        )
    assert ask(client)


def test_leaving_a_stream_frees_the_only_slot(client: openai.OpenAI, real_server: Server) -> None:
    """The first words came while the model wrote on; the next question need not wait for its end.

    The ledger says what became of the story.
    """
    stream = client.chat.completions.create(
        model="chat", messages=STORY, max_tokens=1800, temperature=0, stream=True
    )
    request_id = stream.response.headers["x-coldspark-request-id"]
    assert len(list(itertools.islice(stream, 5))) == 5
    assert running(real_server) == 1
    stream.close()
    assert ask(client)

    def newest() -> list[str]:
        return [line["request"] for line in real_server.client.requests("chat", limit=5)]

    until(lambda: request_id in newest(), "the ledger has the line of the story")
    line = real_server.client.request(request_id)
    assert line["error"] == "Cancelled"
    assert not real_server.client.requests("chat", limit=1)[0]["is_cold"]
    assert 0 < line["busy_ms"] < 20_000
