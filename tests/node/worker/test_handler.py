"""A user's program is run as SageMaker's toolkit would run it."""

import io
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from coldspark.node.worker import media_types
from coldspark.node.worker.context import Context, HandlerRequest
from coldspark.node.worker.handler import HandlerReply, ProgramHandler
from coldspark.node.worker.program import HandlerInvalid


def program(**functions: Callable[..., Any]) -> ModuleType:
    """Return a module with these functions."""
    module = ModuleType("inference")
    vars(module).update(functions)
    return module


def model_fn(model_dir: str) -> str:
    """Load."""
    return f"model of {model_dir}"


def loaded(**functions: Callable[..., Any]) -> ProgramHandler:
    """Return a handler of these functions with its model loaded."""
    handler = ProgramHandler(program(**functions))
    handler.load("/m")
    handler.warm_up()
    return handler


def request(body: bytes = b"null", **fields: Any) -> HandlerRequest:
    """Return a request."""
    defaults: dict[str, Any] = {
        "method": "POST",
        "path": "/invocations",
        "content_type": "application/json",
        "accept": None,
        "headers": [],
        "request_id": "q1",
    }
    return HandlerRequest(body=body, **{**defaults, **fields})


def content_type(reply: HandlerReply) -> str:
    """Return the reply's content type."""
    return dict(reply.headers)["content-type"]


def test_functions_are_called_in_order_with_the_toolkits_arguments() -> None:
    """pre_model, model, warm-up once; input, predict, output per request."""
    calls: list[Any] = []

    def note(name: str, result: Any) -> Any:
        calls.append(name)
        return result

    handler = loaded(
        pre_model_fn=lambda model_dir: note(f"pre {model_dir}", None),
        model_fn=lambda model_dir: note(f"model {model_dir}", "M"),
        model_warmup_fn=lambda model_dir, model: note(f"warm {model_dir} {model}", None),
        input_fn=lambda data, content_type: note(f"input {data!r} {content_type}", "I"),
        predict_fn=lambda data, model: note(f"predict {data} {model}", "P"),
        output_fn=lambda prediction, accept: note(f"output {prediction} {accept}", "O"),
    )
    reply = handler.invoke(request(b"xy", content_type="text/csv", accept="text/plain"))
    assert calls == [
        "pre /m",
        "model /m",
        "warm /m M",
        "input 'xy' text/csv",
        "predict I M",
        "output P text/plain",
    ]
    assert (reply.status, reply.body, content_type(reply)) == (200, b"O", "text/plain")


def test_transform_fn_replaces_the_three() -> None:
    """It gets the model first."""
    handler = loaded(model_fn=model_fn, transform_fn=lambda *four: json.dumps(four))
    reply = handler.invoke(request(b"1"))
    assert json.loads(reply.body) == ["model of /m", "1", "application/json", "application/json"]


@pytest.mark.parametrize("takes_context", [False, True])
def test_context_is_passed_to_those_that_have_room(takes_context: bool) -> None:
    """A function with one argument more gets the context."""
    seen: list[Context] = []

    def with_context(data: Any, model: Any, context: Context) -> str:
        seen.append(context)
        return "with"

    def without(data: Any, model: Any) -> str:
        return "without"

    handler = loaded(model_fn=model_fn, predict_fn=with_context if takes_context else without)
    body = handler.invoke(request()).body
    assert json.loads(body) == ("with" if takes_context else "without")
    assert len(seen) == takes_context


def test_context_tells_of_the_request() -> None:
    """Headers in any case, custom attributes, the id, the model's directory."""
    facts: dict[str, Any] = {}

    def predict_fn(data: Any, model: Any, context: Context) -> str:
        facts.update(
            header=context.get_request_header(0, "X-Color"),
            type=context.get_request_header(0, "Content-Type"),
            attributes=context.custom_attributes,
            id=context.get_request_id(),
            dir=context.system_properties["model_dir"],
        )
        context.set_response_header(0, "X-Reply", "yes")
        context.set_response_content_type(0, "text/plain")
        context.set_response_status(202)
        return "hi"

    headers = [("x-color", "red"), ("x-amzn-sagemaker-custom-attributes", "a=1")]
    reply = loaded(predict_fn=predict_fn, output_fn=lambda prediction, accept: prediction).invoke(
        request(headers=headers)
    )
    assert facts == {
        "header": "red",
        "type": "application/json",
        "attributes": "a=1",
        "id": "q1",
        "dir": "/m",
    }
    assert reply.status == 202
    assert reply.headers == [("content-type", "text/plain"), ("x-reply", "yes")]


def test_a_ping_is_answered_without_the_program() -> None:
    """It wakes a replica, and asks for no inference; other paths and methods are calls."""
    seen: list[str] = []

    def predict_fn(data: Any) -> str:
        seen.append("called")
        return "answer"

    handler = loaded(predict_fn=predict_fn)

    reply = handler.invoke(request(b"", method="GET", path="/ping", content_type=None))
    assert (reply.status, reply.body, seen) == (200, b"", [])

    handler.invoke(request(method="POST", path="/ping"))
    handler.invoke(request(method="GET", path="/other"))
    assert seen == ["called", "called"]


def test_program_with_predict_fn_alone_needs_no_model() -> None:
    """The friendly form: the model is None, or left out."""
    assert loaded(predict_fn=lambda data, model: model is None).invoke(request()).body == b"true"
    assert loaded(predict_fn=lambda data: data).invoke(request(b"7")).body == b"7"


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({}, r"neither predict_fn\(data, model\) nor transform_fn"),
        ({"model_fn": model_fn}, "neither predict_fn"),
        ({"transform_fn": lambda a, b, c, d: a}, r"no model_fn\(model_dir\)"),
        (
            {"model_fn": model_fn, "transform_fn": lambda a, b, c, d: a, "input_fn": max},
            "transform_fn and input_fn",
        ),
        ({"model_fn": lambda: 1, "predict_fn": lambda a, b: a}, "takes 0 arguments"),
        ({"model_fn": model_fn, "predict_fn": lambda a, b, c, d: a}, "must take 2, or 3"),
    ],
)
def test_program_that_makes_no_handler_is_refused(
    functions: dict[str, Callable[..., Any]], message: str
) -> None:
    """The message says what is missing or wrong."""
    with pytest.raises(HandlerInvalid, match=message):
        ProgramHandler(program(**functions))


def test_async_function_is_refused() -> None:
    """It would never be awaited."""

    async def predict_fn(data: Any, model: Any) -> Any:
        return data

    with pytest.raises(HandlerInvalid, match="predict_fn is async"):
        ProgramHandler(program(predict_fn=predict_fn))


@pytest.mark.parametrize(
    ("result", "body", "type_"),
    [
        ("text", b"text", "application/json"),
        (b"bytes", b"bytes", "application/json"),
        (("text", "text/html"), b"text", "text/html"),
        ({"a": 1}, b'{"a": 1}', "application/json"),
        (({"a": 1}, "application/json"), b'{"a": 1}', "application/json"),
    ],
)
def test_output_fn_may_return_many_things(result: Any, body: bytes, type_: str) -> None:
    """Bytes, text, a pair with its content type; anything else is encoded."""
    handler = loaded(predict_fn=lambda d, m: d, output_fn=lambda prediction, accept: result)
    reply = handler.invoke(request())
    assert (reply.body, content_type(reply)) == (body, type_)


def test_iterator_is_a_stream() -> None:
    """From predict_fn as from output_fn, alone or with its content type."""
    for output_fn in (lambda p, a: (p, "text/event-stream"), None):
        functions = {"predict_fn": lambda d, m: iter(("a", b"b"))}
        if output_fn is not None:
            functions["output_fn"] = output_fn
        reply = loaded(**functions).invoke(request())
        assert not isinstance(reply.body, bytes)
        assert list(reply.body) == ["a", b"b"]


def test_exception_with_status_code_is_a_reply_and_others_are_raised() -> None:
    """Only an int of 400 to 599 counts."""

    def refuse(status: Any) -> Callable[..., Any]:
        def predict_fn(data: Any, model: Any) -> None:
            error = ValueError("no")
            error.status_code = status  # type: ignore[attr-defined]
            raise error

        return predict_fn

    reply = loaded(predict_fn=refuse(422)).invoke(request())
    assert (reply.status, reply.body) == (422, b'{"error": "ValueError: no"}')
    for status in (200, "404", True):
        with pytest.raises(ValueError, match="no"):
            loaded(predict_fn=refuse(status)).invoke(request())


# Media.


def test_json_lists_are_arrays_and_objects_are_dicts() -> None:
    """Ragged lists and lists of objects stay lists."""
    array = media_types.decode("[[1, 2], [3, 4]]", "application/json")
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [[1, 2], [3, 4]]
    for value in ({"a": [1]}, [{"a": 1}], [[1], [2, 3]], 3, "text", None):
        decoded = media_types.decode(json.dumps(value), "application/json; charset=utf-8")
        assert not isinstance(decoded, np.ndarray)
        assert decoded == value


def test_without_numpy_lists_stay_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON and CSV work in a bare environment; NPY says what it needs."""
    monkeypatch.setattr(media_types, "numpy", lambda: None)
    assert media_types.decode("[1, 2]", media_types.JSON) == [1, 2]
    assert media_types.decode("1,2\n3,4\n", media_types.CSV) == [[1.0, 2.0], [3.0, 4.0]]
    assert media_types.encode([[1, 2], [3, 4]], media_types.CSV) == "1,2\n3,4\n"
    for work in (
        lambda: media_types.decode(b"", media_types.NPY),
        lambda: media_types.encode([1], media_types.NPY),
    ):
        with pytest.raises(media_types.UnsupportedMedia, match="numpy"):
            work()


@pytest.mark.parametrize("type_", [media_types.JSON, media_types.CSV, media_types.NPY])
def test_arrays_survive_the_round_trip(type_: str) -> None:
    """What is encoded decodes to the same array."""
    array = np.array([[1.5, 2.0], [3.0, 4.25]])
    assert np.array_equal(media_types.decode(media_types.encode(array, type_), type_), array)


def test_csv_is_written_as_the_toolkit_writes_it() -> None:
    """Short decimals, a row a line; a vector is a column."""
    assert (
        media_types.encode(np.array([[0.1, 0.2]], dtype=np.float32), media_types.CSV) == "0.1,0.2\n"
    )
    assert media_types.encode([1, 2], media_types.CSV) == "1\n2\n"
    assert media_types.encode(5, media_types.CSV) == "5\n"


def test_numpy_scalars_inside_objects_become_numbers() -> None:
    """What predict_fn returns is often half numpy."""
    value = {"score": np.float32(0.5), "labels": np.array([1, 2])}
    assert json.loads(media_types.encode(value, media_types.JSON)) == {
        "score": 0.5,
        "labels": [1, 2],
    }


def test_pickles_in_npy_are_refused() -> None:
    """A request must not run code."""
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        media_types.decode(stream.getvalue(), media_types.NPY)


@pytest.mark.parametrize(
    ("accept", "resolved"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("image/png", "image/png"),
        ("text/html, text/csv;q=0.5", "text/csv"),
        ("text/html, */*;q=0.1", "application/json"),
        ("text/html, image/png", "text/html"),
    ],
)
def test_accept_is_resolved_to_one_type(accept: str | None, resolved: str) -> None:
    """Anything means the default; of a list, the first that we can write."""
    assert media_types.resolve_accept(accept) == resolved


def test_default_accept_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the toolkit."""
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
    assert media_types.resolve_accept("*/*") == "text/csv"


def test_unsupported_types_are_refused_with_the_supported_ones() -> None:
    """In both directions."""
    handler = loaded(predict_fn=lambda d, m: d)
    for fields in ({"content_type": "image/png"}, {"accept": "image/png"}):
        with pytest.raises(media_types.UnsupportedMedia, match=r"image/png.*text/csv"):
            handler.invoke(request(**fields))


def test_only_json_and_csv_come_as_text() -> None:
    """As with the toolkit; programs decode the rest themselves."""
    assert media_types.as_text("é".encode(), "application/json; charset=utf-8") == "é"
    assert media_types.as_text(b"abc", "text/plain") == b"abc"
