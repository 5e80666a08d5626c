"""Run a user's program as SageMaker's inference toolkit would.

The program is a module with

    model_fn(model_dir)                              loads the model
    input_fn(data, content_type)                     optional; default: JSON, CSV, NPY
    predict_fn(data, model)
    output_fn(prediction, accept)                    optional; default: JSON, CSV, NPY
    transform_fn(model, data, content_type, accept)  instead of the three above
    pre_model_fn(model_dir), model_warmup_fn(model_dir, model)   optional, before and after model_fn
    park(model), unpark(model)                       optional, around the time the replica is frozen

Each may take one more argument, the context. ``data`` is text for JSON and CSV, bytes otherwise.
A reply is bytes, text, ``(reply, content type)``, or an iterator of bytes or text: a stream.

Beyond the toolkit: a program may define ``predict_fn`` without ``model_fn``; the model is then
None, and ``predict_fn(data)`` may leave it out. A list in Accept is understood. A body without a
content type is JSON. An exception with an integer ``status_code`` of 400 to 599 is the reply.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from . import media
from .context import Context, Request
from .program import HandlerInvalid, message

_PING_PATH = "/ping"
_THREE = ("input_fn", "predict_fn", "output_fn")


@dataclass(frozen=True)
class Reply:
    """What goes back: a whole body, or pieces as they come."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | Iterator[Any]


class UserFunction:
    """One function of the program, called with the context if it has room for it."""

    def __init__(self, name: str, function: Callable[..., Any], arguments: int) -> None:
        self._function = function
        self._takes_context = _takes_context(name, function, arguments)

    def __call__(self, context: Context, *arguments: Any) -> Any:
        """Call it."""
        if self._takes_context:
            return self._function(*arguments, context)
        return self._function(*arguments)


def _takes_context(name: str, function: Callable[..., Any], arguments: int) -> bool:
    """Say whether it takes one argument more. Raises HandlerInvalid when it cannot be called."""
    if inspect.iscoroutinefunction(function):
        raise HandlerInvalid(f"{name} is async; define it with a plain def")
    parameters = _parameters(function)
    if parameters is None:
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(positional) == arguments + 1:
        return True
    if len(required) <= arguments and (takes_any or len(positional) >= arguments):
        return False
    raise HandlerInvalid(
        f"{name} takes {len(positional)} arguments; it must take {arguments},"
        f" or {arguments + 1} with the context"
    )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Return the parameters; None for a function written in C that does not tell."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


class Handler:
    """A program's functions and, once loaded, its model."""

    def __init__(self, module: ModuleType) -> None:
        functions = {name: getattr(module, name, None) for name in _ALL}
        _check(functions, getattr(module, "__file__", None) or module.__name__)
        self._model: Any = None
        self._model_dir = ""
        self._is_warm = False
        self._pre_model = _wrap(functions, "pre_model_fn", 1)
        self._load = _wrap(functions, "model_fn", 1)
        self._warm_up = _wrap(functions, "model_warmup_fn", 2)
        self._park = _wrap(functions, "park", 1)
        self._unpark = _wrap(functions, "unpark", 1)
        self._transform = _wrap(functions, "transform_fn", 4)
        self._input = _wrap(functions, "input_fn", 2)
        self._output = _wrap(functions, "output_fn", 2)
        self._predict_takes_model = self._load is not None or not _takes_only_data(functions)
        self._predict = _wrap(functions, "predict_fn", 2 if self._predict_takes_model else 1)

    def load(self, model_dir: str) -> None:
        """Load the model. Raises whatever the program raises."""
        self._model_dir = model_dir
        context = Context(model_dir, None)
        if self._pre_model is not None:
            self._pre_model(context, model_dir)
        if self._load is not None:
            self._model = self._load(context, model_dir)

    def warm_up(self) -> None:
        """Let the program try its model, once in each process. Raises whatever it raises.

        It may start threads, which no fork would keep: so it runs after the fork.
        """
        if self._warm_up is not None and not self._is_warm:
            self._is_warm = True
            self._warm_up(Context(self._model_dir, None), self._model_dir, self._model)

    @property
    def parks(self) -> bool:
        """Return whether it wants to hear of being frozen and thawed."""
        return self._park is not None or self._unpark is not None

    def park(self) -> None:
        """Give back what a frozen process should not hold. Raises whatever the program raises."""
        if self._park is not None:
            self._park(Context(self._model_dir, None), self._model)

    def unpark(self) -> None:
        """Take it back. Raises whatever the program raises."""
        if self._unpark is not None:
            self._unpark(Context(self._model_dir, None), self._model)

    def invoke(self, request: Request) -> Reply:
        """Answer one request. Raises UnsupportedMedia, and whatever the program raises.

        A ping, which asks whether anybody is awake, is answered without the program.
        """
        if request.method == "GET" and request.path == _PING_PATH:
            return Reply(200, [], b"")
        context = Context(self._model_dir, request)
        try:
            return self._answer(request, context)
        except Exception as error:
            status = getattr(error, "status_code", None)
            if type(status) is not int or not 400 <= status <= 599:
                raise
            body = json.dumps({"error": message(error)}).encode()
            return Reply(status, [("content-type", media.JSON)], body)

    def _answer(self, request: Request, context: Context) -> Reply:
        content_type = request.content_type or media.JSON
        accept = media.resolve_accept(request.accept)
        data = media.as_text(request.body, content_type)
        if self._transform is not None:
            result = self._transform(context, self._model, data, content_type, accept)
        else:
            result = self._output_of(context, self._prediction(context, data, content_type), accept)
        return _reply(result, context, accept)

    def _prediction(self, context: Context, data: str | bytes, content_type: str) -> Any:
        assert self._predict is not None
        if self._input is not None:
            value = self._input(context, data, content_type)
        else:
            value = media.decode(data, content_type)
        if self._predict_takes_model:
            return self._predict(context, value, self._model)
        return self._predict(context, value)

    def _output_of(self, context: Context, prediction: Any, accept: str) -> Any:
        if self._output is not None:
            return self._output(context, prediction, accept)
        if isinstance(prediction, (bytes, bytearray, memoryview)) or _is_stream(prediction):
            return prediction
        return media.encode(prediction, accept)


_ALL = (
    "pre_model_fn",
    "model_fn",
    "model_warmup_fn",
    "park",
    "unpark",
    "transform_fn",
    *_THREE,
)


def uses_default_codecs(module: ModuleType) -> bool:
    """Say whether requests will be decoded or encoded here (so numpy is worth importing early)."""
    names = ("transform_fn", "input_fn")
    return hasattr(module, "predict_fn") and not any(hasattr(module, name) for name in names)


def _wrap(functions: dict[str, Any], name: str, arguments: int) -> UserFunction | None:
    function = functions[name]
    return None if function is None else UserFunction(name, function, arguments)


def _takes_only_data(functions: dict[str, Any]) -> bool:
    predict = functions["predict_fn"]
    if predict is None:
        return False
    parameters = _parameters(predict) or []
    return len([p for p in parameters if p.default is p.empty]) == 1


def _check(functions: dict[str, Any], where: str) -> None:
    """Raise HandlerInvalid unless the functions make a handler."""
    defined = [name for name in _THREE if functions[name] is not None]
    if functions["transform_fn"] is not None:
        if defined:
            raise HandlerInvalid(
                f"{where} defines transform_fn and {', '.join(defined)};"
                " transform_fn replaces the other three, so define one or the other"
            )
        if functions["model_fn"] is None:
            raise HandlerInvalid(f"{where} defines transform_fn but no model_fn(model_dir)")
    elif functions["predict_fn"] is None:
        raise HandlerInvalid(
            f"{where} defines neither predict_fn(data, model)"
            " nor transform_fn(model, data, content_type, accept)"
        )


def _is_stream(value: Any) -> bool:
    return hasattr(value, "__next__")


def _reply(result: Any, context: Context, accept: str) -> Reply:
    content_type = context.content_type or accept
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
        result, content_type = result
    if not isinstance(result, (bytes, bytearray, memoryview, str)) and not _is_stream(result):
        result = media.encode(result, content_type)
    headers = [("content-type", content_type), *context.headers]
    if _is_stream(result):
        return Reply(context.status, headers, result)
    return Reply(context.status, headers, to_bytes(result))


def to_bytes(piece: Any) -> bytes:
    """Return text and byte strings as bytes. Raises TypeError for anything else."""
    if isinstance(piece, str):
        return piece.encode("utf-8")
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"a streamed reply must yield bytes or str, not {type(piece).__name__}")
