"""``invoke``: every way to give a body, and the answer alone on standard output."""

from pathlib import Path

import pytest
from fake_api import FakeApi
from shell import Shell


def test_json_goes_and_comes_back_as_it_is(coldspark: Shell, api: FakeApi) -> None:
    """The answer to stdout, nothing else."""
    ran = coldspark("invoke", "echo", "--json", '{"a": 1}')
    assert (ran.code, ran.out, ran.err) == (0, '{"a": 1}', "")
    line, headers, body = api.sent[0]
    assert line == "POST /v1/endpoints/echo/invoke"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer csk_test"
    assert body == b'{"a": 1}'


def test_a_file_is_sent_as_what_its_name_says(coldspark: Shell, api: FakeApi) -> None:
    """Unless a content type is given."""
    Path("cat.jpg").write_bytes(b"\xff\xd8")
    coldspark("invoke", "echo", "--file", "cat.jpg", "--accept", "text/csv")
    coldspark("invoke", "echo", "--file", "cat.jpg", "--content-type", "a/b")
    assert [sent[1]["content-type"] for sent in api.sent] == ["image/jpeg", "a/b"]
    assert api.sent[0][1]["accept"] == "text/csv"
    assert api.sent[0][2] == b"\xff\xd8"


def test_standard_input_is_the_body(coldspark: Shell, api: FakeApi) -> None:
    """JSON is recognised."""
    ran = coldspark("invoke", "echo", given='{"texts": []}')
    assert ran.out == '{"texts": []}'
    assert api.sent[0][1]["content-type"] == "application/json"


def test_an_answer_may_go_to_a_file(coldspark: Shell) -> None:
    """Bytes as they are."""
    coldspark("invoke", "echo", "--data", "hello", "--output", "out.bin")
    assert Path("out.bin").read_bytes() == b"hello"


def test_timing_is_drawn_beside_the_answer(coldspark: Shell) -> None:
    """A stream's trailers tell; the waterfall goes to stderr."""
    ran = coldspark("invoke", "echo", "--data", "hello", "--show-timing")
    assert ran.out == "hello"
    lines = ran.err.splitlines()
    assert [line.split()[0] for line in lines[:5]] == [
        "booted",
        "loaded",
        "inferred",
        "unaccounted",
        "total",
    ]
    assert lines[-1] == (
        "28.05 ms (booted 14, loaded 5.5, inferred 8.25, unaccounted 0.3)"
        " · cold · $0.00000123 · req-1"
    )


def test_a_commands_own_route(coldspark: Shell, api: FakeApi) -> None:
    """Any method, any path."""
    coldspark("invoke", "chat", "--method", "GET", "--path", "/v1/models", given="")
    assert api.asked == ["GET /v1/endpoints/chat/invoke/v1/models"]


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "{broken"),
        ("--json", "{}", "--data", "x"),
        ("--file", "none.bin"),
    ],
)
def test_a_body_that_cannot_be_is_a_usage_error(
    coldspark: Shell, api: FakeApi, words: tuple[str, ...]
) -> None:
    """Nothing is sent."""
    assert coldspark("invoke", "echo", *words).code == 2
    assert api.asked == []


def test_a_handlers_own_error_is_shown(coldspark: Shell, api: FakeApi) -> None:
    """Whatever its body is."""
    api.replies["/v1/endpoints/echo/invoke"] = (400, {"detail": "no texts"})
    ran = coldspark("invoke", "echo", "--data", "x")
    assert ran.code == 1
    assert 'error: {"detail": "no texts"}' in ran.err


def test_a_full_queue_says_when_to_come_back(coldspark: Shell, api: FakeApi) -> None:
    """The server's own estimate."""
    error = {"code": "QueueFull", "message": "1000 requests wait", "retry_after_s": 12.0}
    api.replies["/v1/endpoints/echo/invoke"] = (429, {"error": error})
    ran = coldspark("invoke", "echo", "--data", "x")
    assert ran.err == "error: 1000 requests wait\n  Try again in 12 s\n"


def test_no_server_is_exit_code_3_and_says_how_to_start_one(coldspark: Shell) -> None:
    """Scripts can tell it from a failure."""
    ran = coldspark("invoke", "echo", "--data", "x", COLDSPARK_URL="http://127.0.0.1:1")
    assert ran.code == 3
    assert "coldspark up" in ran.err
