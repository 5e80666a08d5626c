"""The models of one replica that has many: each is brought here before its call goes out.

A handler is told where the files are, and loads by itself; a command's server is asked to load.

A call for a model that the replica has, as far as is known, goes on at once. Else its files are
fetched first; the call holds its slot meanwhile, and may be given up. What the replica says of
loading and evicting keeps the picture true.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

import msgspec
from msgspec.structs import replace

from coldspark import clock
from coldspark.errors import ArtifactUnavailable, ColdsparkError
from coldspark.node.launch_plan import NodeContext
from coldspark.node.models.model_load import ModelLoadReport, TargetModelOutcome
from coldspark.node.models.model_server import ModelServerClient, invoke_path
from coldspark.node.models.served_models import ModelLoadFailed, ServedModels
from coldspark.node.transport.channel import CANCELLED
from coldspark.node.worker.multi_model_server import DIRECTORY, DOINGS
from coldspark.objects.archives import is_archive
from coldspark.platform.metric_ports import ENDPOINT_NAMESPACE, Metric, Metrics
from coldspark.platform.ports import Flow, Invocation, ReplySink, StartOrder
from coldspark.spec.multi_model import MultiModel
from coldspark.spec.types import Failure, FailureKind, RequestId, Spec

_log = logging.getLogger(__name__)

Fetch = Callable[[str], Coroutine[object, object, Path]]
Spawn = Callable[[Coroutine[object, object, None]], "asyncio.Task[None]"]
Headers = Sequence[tuple[str, str]]


class Upstream(Protocol):
    """The way to a replica."""

    def call(self, invocation: Invocation, sink: ReplySink) -> Flow:
        """Send a call."""

    def abort(self, request: RequestId) -> None:
        """Ask for a call to be given up."""


class TargetModels:
    """Implements ``Upstream`` over the channel of a replica that has many models."""

    def __init__(
        self,
        multi: MultiModel,
        upstream: Upstream,
        fetch: Fetch,
        spawn: Spawn,
        hear: Callable[[TargetModelOutcome], None],
        served: ServedModels | None = None,
    ) -> None:
        """``served``: the models of a command's server; None: a handler."""
        self._served = served
        self._multi = multi
        self._upstream = upstream
        self._fetch = fetch
        self._spawn = spawn
        self._hear = hear
        self._here: dict[str, tuple[str, Path]] = {}
        """Address and directory of the models that the replica has."""
        self._fetching: dict[RequestId, _Fetching] = {}

    @property
    def urls(self) -> set[str]:
        """Return the addresses of what the replica has loaded, or is about to."""
        targets = {call.target for call in self._fetching.values()}
        return {url for url, _ in self._here.values()} | {self._url(one) for one in targets}

    @property
    def is_served(self) -> bool:
        """Return whether a command has the models."""
        return self._served is not None

    def call(self, invocation: Invocation, sink: ReplySink) -> Flow:
        """Send a call, once its model's files are here."""
        target = invocation.target
        assert target is not None, "the controller lets none without one pass"
        known, served = self._here.get(target), self._served
        if known is not None and (served is None or served.acquire(target)):
            return self._send(
                invocation, known[1], _Sink(self, target, None, ModelLoadReport(), sink)
            )
        call = _Fetching(target, invocation, sink)
        self._fetching[invocation.request] = call
        call.task = self._spawn(self._bring(call))
        return call

    def abort(self, request: RequestId) -> None:
        """Ask for a call to be given up."""
        call = self._fetching.pop(request, None)
        if call is None:
            self._upstream.abort(request)
            return
        if call.task is not None:
            call.task.cancel()
        call.sink.on_failure(CANCELLED)

    def void(self) -> None:
        """Forget every call: the replica is gone."""
        calls, self._fetching = list(self._fetching.values()), {}
        for call in calls:
            if call.task is not None:
                call.task.cancel()
        self._here.clear()

    def on_answered(self, target: str, fetch_us: int | None, doings: ModelLoadReport) -> None:
        """Take note of what the replica did."""
        for evicted in doings.evicted:
            self._here.pop(evicted, None)
        self._hear(TargetModelOutcome(target=target, fetch_us=fetch_us, doings=doings))

    def on_done(self, target: str) -> None:
        """A call has ended: the model may go, where it is not kept."""
        if self._served is not None:
            self._spawn(self._give(self._served, target))

    async def _give(self, served: ServedModels, target: str) -> None:
        if await served.release(target):
            self._here.pop(target, None)

    async def _bring(self, call: "_Fetching") -> None:
        began_s, fetch_us = clock.monotonic_s(), 0
        failure: Failure | None = None
        directory, doings = Path(), ModelLoadReport()
        url = self._url(call.target)
        try:
            _refuse_outside(self._multi.prefix, call.target)
            directory = await self._fetch(url)
            fetch_us = round((clock.monotonic_s() - began_s) * 1e6)
            if self._served is not None:
                doings = await self._served.load(call.target, directory)
        except ModelLoadFailed as error:
            failure = error.failure
        except ColdsparkError as error:
            failure = _missing(url, error)
        except Exception as error:  # noqa: BLE001
            # The task's outermost edge: the call must hear an end.
            _log.exception("the model %s could not be brought here", url)
            failure = _missing(url, error)
        for evicted in doings.evicted:
            self._here.pop(evicted, None)
        if self._fetching.pop(call.invocation.request, None) is not call:
            if failure is None:
                self.on_done(call.target)
            return  # It was given up, or the replica is gone.
        if failure is not None:
            call.sink.on_failure(failure)
            return
        self._here[call.target] = (url, directory)
        sink = _Sink(self, call.target, fetch_us, doings, call.sink)
        call.sent(self._send(call.invocation, directory, sink))

    def _send(self, invocation: Invocation, directory: Path, sink: ReplySink) -> Flow:
        if self._served is not None:
            assert invocation.target is not None
            path = invoke_path(invocation.target)
            return self._upstream.call(replace(invocation, path=path), sink)
        headers = (*invocation.headers, (DIRECTORY, str(directory)))
        return self._upstream.call(replace(invocation, headers=headers), sink)

    def _url(self, target: str) -> str:
        return url_of(self._multi.prefix, target)


class _Fetching:
    """A call whose model is on its way here, and its ``Flow``."""

    def __init__(self, target: str, invocation: Invocation, sink: ReplySink) -> None:
        self.target = target
        self.invocation = invocation
        self.sink = sink
        self.task: asyncio.Task[None] | None = None
        self._flow: Flow | None = None
        self._is_paused = False

    def sent(self, flow: Flow) -> None:
        """Take the flow of the call, once it went out."""
        self._flow = flow
        if self._is_paused:
            flow.pause()

    def pause(self) -> None:
        """Let the replica send no more for now."""
        self._is_paused = True
        if self._flow is not None:
            self._flow.pause()

    def resume(self) -> None:
        """Let it send again."""
        self._is_paused = False
        if self._flow is not None:
            self._flow.resume()


class _Sink:
    """Reads what a replica says of its models off a reply, and passes the rest on."""

    def __init__(
        self,
        models: TargetModels,
        target: str,
        fetch_us: int | None,
        doings: ModelLoadReport,
        sink: ReplySink,
    ) -> None:
        self._doings = doings
        self._models = models
        self._target = target
        self._fetch_us = fetch_us
        self._sink = sink

    def on_waited(self, waited_us: int) -> None:
        """Pass it on."""
        self._sink.on_waited(waited_us)

    def on_reply(self, status: int, headers: Headers, body: bytes, handler_us: int | None) -> None:
        """Read the headers, and pass the reply on."""
        self._sink.on_reply(status, self._read(headers), body, handler_us)
        self._models.on_done(self._target)

    def on_head(self, status: int, headers: Headers) -> None:
        """Read the headers, and pass the head on."""
        self._sink.on_head(status, self._read(headers))

    def on_chunk(self, chunk: bytes) -> None:
        """Pass it on."""
        self._sink.on_chunk(chunk)

    def on_end(self, handler_us: int | None) -> None:
        """Pass it on."""
        self._sink.on_end(handler_us)
        self._models.on_done(self._target)

    def on_failure(self, failure: Failure) -> None:
        """Pass it on."""
        self._sink.on_failure(failure)
        self._models.on_done(self._target)

    def _read(self, headers: Headers) -> Headers:
        doings = self._doings
        for name, value in headers:
            if name == DOINGS and not self._models.is_served:
                doings = _doings(value)
        self._models.on_answered(self._target, self._fetch_us, doings)
        return [(name, value) for name, value in headers if name != DOINGS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMeter:
    """Measures the models of one variant."""

    metrics: Metrics
    endpoint: str
    variant: str

    def record(self, told: TargetModelOutcome) -> None:
        """Take what became of one call's model."""
        doings = told.doings
        self._add("ModelCacheHit", float(told.is_hit), "None")
        if doings.load_us is not None:
            waited_us = doings.load_us + (told.fetch_us or 0)
            self._add("ModelLoadingWaitTime", waited_us, "Microseconds")
            self._add("ModelLoadingTime", doings.load_us, "Microseconds")
        if told.fetch_us is not None:
            self._add("ModelDownloadingTime", told.fetch_us, "Microseconds")
        if doings.unload_us:
            self._add("ModelUnloadingTime", doings.unload_us, "Microseconds")

    def _add(self, name: str, value: float, unit: str) -> None:
        dimensions = (("EndpointName", self.endpoint), ("VariantName", self.variant))
        metric = Metric(namespace=ENDPOINT_NAMESPACE, name=name, dimensions=dimensions)
        self.metrics.add(metric, value, clock.wall_ms(), unit=unit)


def models_of(
    order: StartOrder,
    machine: NodeContext,
    upstream: Upstream,
    remark: Callable[[str], None],
    port: int | None = None,
) -> TargetModels | None:
    """Return the way to a replica that has many models, None to any other.

    ``port``: of a command's server.
    """
    multi, fetch = order.revision.spec.multi_model, machine.fetch
    if multi is None:
        return None
    assert fetch is not None, "the machine brings no models here"
    endpoint, _, variant = order.fleet.partition("/")

    def hear(told: TargetModelOutcome) -> None:
        sentence = told.sentence()
        if sentence is not None:
            remark(sentence)
        if machine.metrics is not None:
            ModelMeter(metrics=machine.metrics, endpoint=endpoint, variant=variant).record(told)

    served = (
        None if port is None else ServedModels(ModelServerClient(port), is_cached=multi.is_cached)
    )
    return TargetModels(multi, upstream, fetch, machine.tasks.spawn, hear, served)


def memory_of(spec: Spec) -> dict[str, object] | None:
    """Return what a handler of many models is told of its room."""
    multi = spec.multi_model
    if multi is None:
        return None
    return {"memory_bytes": spec.resources.memory_bytes, "is_cached": multi.is_cached}


def url_of(prefix: str, target: str) -> str:
    """Return the address of a model: an archive, else the files under it."""
    if prefix.startswith("file:"):
        return prefix + quote(target)
    return prefix + target if is_archive(target) else f"{prefix}{target}/"


def _refuse_outside(prefix: str, target: str) -> None:
    """Raise ArtifactUnavailable where a link of this machine leads out of the prefix."""
    if not prefix.startswith("file:"):
        return
    root = Path(unquote(urlsplit(prefix).path)).resolve()
    if not (root / target).resolve().is_relative_to(root):
        raise ArtifactUnavailable(f"{target} leads out of {prefix}", field="model")


def _missing(url: str, error: Exception) -> Failure:
    reason = error.message if isinstance(error, ColdsparkError) else str(error)
    return Failure(
        kind=FailureKind.INVALID_REQUEST,
        message=f"Failed to download model data({url}). Please ensure that there is an object"
        f" located at the URL: {reason}",
    )


def _doings(text: str) -> ModelLoadReport:
    try:
        return msgspec.json.decode(text, type=ModelLoadReport)
    except msgspec.DecodeError:
        # The handler set a header of ours: it is not believed.
        return ModelLoadReport()
