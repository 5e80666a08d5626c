"""Run a user's program as SageMaker's inference toolkit would.

The program is a module with

    setup_fn(model_dir)                              optional; what can be done before the fork
    model_fn(model_dir)                              loads the model; with a setup_fn:
    model_fn(model_dir, setup)                       setup is what that returned
    input_fn(data, content_type)                     optional; default: JSON, CSV, NPY
    predict_fn(data, model)
    output_fn(prediction, accept)                    optional; default: JSON, CSV, NPY
    predict_batch_fn(inputs, model)                  for batches: a result for each input
    transform_fn(model, data, content_type, accept)  instead of the three above
    pre_model_fn(model_dir), model_warmup_fn(model_dir, model)   optional, before and after model_fn
    park(model), unpark(model)                       optional, around the time the replica is frozen

Each may take one more argument, the context. ``data`` is text for JSON and CSV, bytes otherwise.
A reply is bytes, text, ``(reply, content type)``, or an iterator of bytes or text: a stream.

Beyond the toolkit: where batching is on, ``predict_batch_fn`` is called in place of ``predict_fn``,
which it may replace altogether. A program may define ``predict_fn`` without ``model_fn``; the model
is then None, and ``predict_fn(data)`` may leave it out. A list in Accept is understood. A body
without a content type is JSON. An exception with an integer ``status_code`` of 400 to 599 is the
reply.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from . import media_types
from .context import BatchContext, Context, HandlerRequest
from .program import HandlerInvalid, message

PING_PATH = "/ping"
_THREE = ("input_fn", "predict_fn", "output_fn")
_REPLACED = (*_THREE, "predict_batch_fn")
"""What ``transform_fn`` stands for."""


@dataclass(frozen=True)
class HandlerReply:
    """What goes back: a whole body, or pieces as they come."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | Iterator[Any]


@dataclass(frozen=True)
class BatchItem:
    """One request of a batch: what ``input_fn`` made of it, and what its reply needs."""

    value: Any
    context: Context
    accept: str


class WrongResults(Exception):
    """``predict_batch_fn`` returned something else than a result for each input."""


class UserFunction:
    """One function of the program, called with the context if it has room for it."""

    def __init__(self, name: str, function: Callable[..., Any], arguments: int) -> None:
        self._function = function
        self._takes_context = _takes_context(name, function, arguments)

    def __call__(self, context: Context | BatchContext, *arguments: Any) -> Any:
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


class ProgramHandler:
    """A program's functions and, once loaded, its model."""

    def __init__(self, module: ModuleType) -> None:
        functions = {name: getattr(module, name, None) for name in _ALL}
        self.module = module
        self._where = getattr(module, "__file__", None) or module.__name__
        self._functions = functions
        _check(functions, self._where)
        self._model: Any = None
        self._model_dir = ""
        self._is_warm = False
        self._setup: Any = None
        self._is_set_up = False
        self.is_loaded = False
        self._pre_model = _wrap(functions, "pre_model_fn", 1)
        self._set_up = _wrap(functions, "setup_fn", 1)
        self._load = _wrap(functions, "model_fn", 1 if self._set_up is None else 2)
        self._warm_up = _wrap(functions, "model_warmup_fn", 2)
        self._park = _wrap(functions, "park", 1)
        self._unpark = _wrap(functions, "unpark", 1)
        self._transform = _wrap(functions, "transform_fn", 4)
        self._input = _wrap(functions, "input_fn", 2)
        self._output = _wrap(functions, "output_fn", 2)
        self._predict, self._predict_takes_model = self._wrap_predict("predict_fn")
        self._predict_batch, self._batch_takes_model = self._wrap_predict("predict_batch_fn")

    def _wrap_predict(self, name: str) -> tuple[UserFunction | None, bool]:
        """Return one that computes, and whether it takes the model."""
        takes_model = self._load is not None or not _takes_only_data(self._functions[name])
        return _wrap(self._functions, name, 2 if takes_model else 1), takes_model

    def check_batching(self, size_max: int) -> None:
        """Raise HandlerInvalid unless it can be called for several requests at once."""
        for name in ("transform_fn", "predict_batch_fn", "output_fn"):
            if inspect.isgeneratorfunction(self._functions[name]):
                raise HandlerInvalid(
                    f"{name} is a generator, and a streamed reply cannot be part of a batch:"
                    f" return the reply whole, or take batch_size={size_max} away"
                )
        if self._predict_batch is None:
            raise HandlerInvalid(
                f"{self._where} defines no predict_batch_fn(inputs, model), which"
                f" batch_size={size_max} needs: define it in place of predict_fn or transform_fn,"
                " or take batch_size away"
            )

    @property
    def has_model(self) -> bool:
        """Return whether it loads one, from a directory."""
        return self._load is not None

    @property
    def has_setup(self) -> bool:
        """Return whether some of its loading can be done before the rest."""
        return self._set_up is not None

    def set_up(self, model_dir: str) -> None:
        """Do what can be done ahead, unless it was. Raises whatever the program raises."""
        if self._set_up is not None and not self._is_set_up:
            self._setup = self._set_up(Context(model_dir, None), model_dir)
            self._is_set_up = True

    def load(self, model_dir: str) -> None:
        """Load the model. Raises whatever the program raises."""
        self._model_dir = model_dir
        self.set_up(model_dir)
        context = Context(model_dir, None)
        if self._pre_model is not None:
            self._pre_model(context, model_dir)
        if self._load is not None:
            setup = () if self._set_up is None else (self._setup,)
            self._model = self._load(context, model_dir, *setup)
        # What was set up is the model's now, if the model wants it: nothing else keeps it.
        self._setup = None
        self.is_loaded = True

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

    def invoke(self, request: HandlerRequest) -> HandlerReply:
        """Answer one request. Raises UnsupportedMedia, and whatever the program raises.

        A ping, which asks whether anybody is awake, is answered without the program.
        """
        if request.method == "GET" and request.path == PING_PATH:
            return HandlerReply(200, [], b"")
        context = Context(self._model_dir, request)
        try:
            return self._answer(request, context)
        except Exception as error:
            reply = refusal(error)
            if reply is None:
                raise
            return reply

    def open(self, request: HandlerRequest) -> BatchItem:
        """Decode one request of a batch. Raises UnsupportedMedia, and what the program raises."""
        context = Context(self._model_dir, request)
        content_type = request.content_type or media_types.JSON
        accept = media_types.resolve_accept(request.accept)
        data = media_types.as_text(request.body, content_type)
        return BatchItem(self._input_of(context, data, content_type), context, accept)

    def predict_batch(self, items: Sequence[BatchItem]) -> list[Any]:
        """Return a result for each, in their order. Raises WrongResults, and what it raises."""
        context = BatchContext([item.context for item in items])
        return self._results(context, [item.value for item in items])

    def _results(self, context: BatchContext, values: list[Any]) -> list[Any]:
        assert self._predict_batch is not None
        count = len(values)
        arguments = (values, self._model) if self._batch_takes_model else (values,)
        results = self._predict_batch(context, *arguments)
        if isinstance(results, (str, bytes, bytearray, dict)) or not hasattr(results, "__len__"):
            raise WrongResults(
                f"predict_batch_fn returned {type(results).__name__}; it must return a list"
                f" with a result for each of its inputs ({count})"
            )
        if len(results) != count:
            raise WrongResults(
                f"predict_batch_fn returned {len(results)} results for {count} inputs;"
                " it must return one for each, in their order"
            )
        return list(results)

    def close(self, item: BatchItem, prediction: Any) -> HandlerReply:
        """Encode one result of a batch. Raises it if it is an exception, TypeError for a stream."""
        _raise_result(prediction)
        result = self._output_of(item.context, prediction, item.accept)
        reply = _reply(result, item.context, item.accept)
        if not isinstance(reply.body, bytes):
            raise TypeError(
                "a streamed reply cannot be part of a batch: return it whole,"
                " or deploy without batch_size"
            )
        return reply

    def _answer(self, request: HandlerRequest, context: Context) -> HandlerReply:
        content_type = request.content_type or media_types.JSON
        accept = media_types.resolve_accept(request.accept)
        data = media_types.as_text(request.body, content_type)
        if self._transform is not None:
            result = self._transform(context, self._model, data, content_type, accept)
        else:
            result = self._output_of(context, self._prediction(context, data, content_type), accept)
        return _reply(result, context, accept)

    def _prediction(self, context: Context, data: str | bytes, content_type: str) -> Any:
        value = self._input_of(context, data, content_type)
        if self._predict is None:
            return _raise_result(self._results(BatchContext([context]), [value])[0])
        if self._predict_takes_model:
            return self._predict(context, value, self._model)
        return self._predict(context, value)

    def _input_of(self, context: Context, data: str | bytes, content_type: str) -> Any:
        if self._input is not None:
            return self._input(context, data, content_type)
        return media_types.decode(data, content_type)

    def _output_of(self, context: Context, prediction: Any, accept: str) -> Any:
        if self._output is not None:
            return self._output(context, prediction, accept)
        if isinstance(prediction, (bytes, bytearray, memoryview)) or _is_stream(prediction):
            return prediction
        return media_types.encode(prediction, accept)


_ALL = (
    "setup_fn",
    "pre_model_fn",
    "model_fn",
    "model_warmup_fn",
    "park",
    "unpark",
    "transform_fn",
    *_REPLACED,
)


def refusal(error: BaseException) -> HandlerReply | None:
    """Return the reply that the program means by an exception with a ``status_code``."""
    status = getattr(error, "status_code", None)
    is_meant = isinstance(error, Exception) and type(status) is int and 400 <= status <= 599
    if not is_meant:
        return None
    assert isinstance(status, int)
    body = json.dumps({"error": message(error)}).encode()
    return HandlerReply(status, [("content-type", media_types.JSON)], body)


def uses_default_codecs(module: ModuleType) -> bool:
    """Say whether requests will be decoded or encoded here (so numpy is worth importing early)."""
    names = ("transform_fn", "input_fn")
    predicts = hasattr(module, "predict_fn") or hasattr(module, "predict_batch_fn")
    return predicts and not any(hasattr(module, name) for name in names)


def _wrap(functions: dict[str, Any], name: str, arguments: int) -> UserFunction | None:
    function = functions[name]
    return None if function is None else UserFunction(name, function, arguments)


def _takes_only_data(predict: Callable[..., Any] | None) -> bool:
    if predict is None:
        return False
    parameters = _parameters(predict) or []
    return len([p for p in parameters if p.default is p.empty]) == 1


def _check(functions: dict[str, Any], where: str) -> None:
    """Raise HandlerInvalid unless the functions make a handler."""
    if functions["setup_fn"] is not None and functions["model_fn"] is None:
        raise HandlerInvalid(f"{where} defines setup_fn but no model_fn(model_dir, setup)")
    defined = [name for name in _REPLACED if functions[name] is not None]
    if functions["transform_fn"] is not None:
        if defined:
            raise HandlerInvalid(
                f"{where} defines transform_fn and {', '.join(defined)};"
                " transform_fn replaces the others, so define one or the other"
            )
        if functions["model_fn"] is None:
            raise HandlerInvalid(f"{where} defines transform_fn but no model_fn(model_dir)")
    elif functions["predict_fn"] is None and functions["predict_batch_fn"] is None:
        raise HandlerInvalid(
            f"{where} defines neither predict_fn(data, model)"
            " nor transform_fn(model, data, content_type, accept)"
        )


def _raise_result(prediction: Any) -> Any:
    """Raise a result of a batch that is an exception; return any other."""
    if isinstance(prediction, Exception):
        raise prediction
    return prediction


def _is_stream(value: Any) -> bool:
    return hasattr(value, "__next__")


def _reply(result: Any, context: Context, accept: str) -> HandlerReply:
    content_type = context.content_type or accept
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
        result, content_type = result
    if not isinstance(result, (bytes, bytearray, memoryview, str)) and not _is_stream(result):
        result = media_types.encode(result, content_type)
    headers = [("content-type", content_type), *context.headers]
    if _is_stream(result):
        return HandlerReply(context.status, headers, result)
    return HandlerReply(context.status, headers, to_bytes(result))


def to_bytes(piece: Any) -> bytes:
    """Return text and byte strings as bytes. Raises TypeError for anything else."""
    if isinstance(piece, str):
        return piece.encode("utf-8")
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"a streamed reply must yield bytes or str, not {type(piece).__name__}")
