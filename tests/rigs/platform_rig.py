"""A whole platform in this process: real fleets and placement over replicas that are timers."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, groupby

from coldspark import clock
from coldspark.billing.usage import IdleUsage, Usage
from coldspark.database.records import StoredEndpoint
from coldspark.platform.body_stream import BodyStream
from coldspark.platform.controller import Controller
from coldspark.platform.metric_ports import AlarmRule, OnAlarm
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import Invocation, LogLine, Receipt, ReplySink, StartOrder
from coldspark.spec.messages import Device, NodeJoined, Reservation
from coldspark.spec.types import (
    AlarmState,
    Command,
    DeviceId,
    EndpointDefinition,
    EndpointName,
    Exit,
    Failure,
    GpuRequest,
    NodeId,
    ReplicaId,
    RequestId,
    Resources,
    Revision,
    RevisionId,
    RootCause,
    ScalePolicy,
    Spec,
    VariantDefinition,
    VariantName,
)

STOPPED = Exit(cause=RootCause.UNKNOWN, message="stopped", exit_status=0)
CRASHED = Exit(cause=RootCause.IMPORT_ERROR, message="no module named numpy", exit_status=1)
CHAT = EndpointName("chat")
MAIN = VariantName("main")
WAIT_S = 10.0


def node(*types: str) -> NodeJoined:
    """Return a machine with simulated devices."""
    devices = tuple(
        Device(id=DeviceId(f"d{at}"), type=type, memory_bytes=16 * 2**30, is_simulated=True)
        for at, type in enumerate(types)
    )
    return NodeJoined(node=NodeId("n"), memory_bytes=64 * 2**30, vcpus=64.0, devices=devices)


def revision(name: str, *, gpu: str | None = None, **scale: object) -> Revision:
    """Return a revision under a readable id; one whose id begins with ``bad`` cannot start."""
    spec = Spec(
        command=Command(argv=(name,)),
        scale=ScalePolicy(**scale),  # type: ignore[arg-type]
        resources=Resources(gpus=() if gpu is None else (GpuRequest(type=gpu),)),
    )
    return Revision(id=RevisionId(name), spec=spec)


def variant(name: str, found: Revision, weight: float = 1.0) -> VariantDefinition:
    """Return a variant."""
    return VariantDefinition(name=VariantName(name), revision=found, weight=weight)


def endpoint(*variants: VariantDefinition, **fields: object) -> EndpointDefinition:
    """Return the endpoint ``chat``."""
    return EndpointDefinition(name=CHAT, variants=variants, **fields)  # type: ignore[arg-type]


class TimedEngine:
    """An engine whose replicas are timers, and which says the revision in every reply."""

    def __init__(self) -> None:
        self.controller: Controller | None = None
        self.start_s = 0.02
        self.service_s = 0.002
        self.revisions: dict[ReplicaId, str] = {}
        self.calls: list[tuple[ReplicaId, Invocation]] = []
        self._open: dict[ReplicaId, int] = {}

    def start(self, order: StartOrder) -> None:
        self.revisions[order.replica] = order.revision.id
        self._later(self.start_s, self._started, order.replica)

    def _started(self, replica: ReplicaId) -> None:
        assert self.controller is not None
        if self.revisions[replica].startswith("bad"):
            self.controller.on_exited(replica, CRASHED)
        else:
            self.controller.on_ready(replica)

    def _later(self, delay_s: float, call: Callable[..., object], *values: object) -> None:
        asyncio.get_running_loop().call_later(delay_s, call, *values)

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        assert self.controller is not None
        assert not self._open.get(replica), "a busy replica is stopped"
        self._later(0.0, self.controller.on_exited, replica, STOPPED)

    @property
    def parking(self) -> "TimedEngine":
        return self

    def park(self, replica: ReplicaId) -> None:
        assert self.controller is not None
        self._later(0.0, self.controller.on_park_failed, replica, "a timer cannot be frozen")

    def unpark(self, replica: ReplicaId, grant: Reservation | None = None) -> None:
        raise AssertionError("nothing is parked here")

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> "TimedEngine":
        self.calls.append((replica, invocation))
        self._open[replica] = self._open.get(replica, 0) + 1
        self._later(self.service_s, self._answer, replica, sink)
        return self

    def _answer(self, replica: ReplicaId, sink: ReplySink) -> None:
        self._open[replica] -= 1
        sink.on_reply(200, (("content-type", "text/csv"),), self.revisions[replica].encode(), 1)

    def abort(self, replica: ReplicaId, request: RequestId) -> None:
        raise AssertionError("nobody hangs up here")

    def logs(self, endpoint: EndpointName, lines: int) -> list[LogLine]:
        return []

    def template(self, replica: ReplicaId) -> str | None:
        return None

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


@dataclass
class Lines:
    """A ledger in memory."""

    usages: list[Usage] = field(default_factory=list)
    is_writable = True

    def record(self, usage: Usage) -> None:
        self.usages.append(usage)

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        self.usages.append(usage)
        asyncio.get_running_loop().call_soon(done)

    def record_idle(self, holdings: Sequence[IdleUsage]) -> None:
        pass


@dataclass
class Definitions:
    """What is on disk, which outlives a platform."""

    stored: dict[EndpointName, StoredEndpoint] = field(default_factory=dict)

    async def save(self, definition: EndpointDefinition) -> StoredEndpoint:
        old = self.stored.get(definition.name)
        now_ms = clock.wall_ms()
        made = StoredEndpoint(
            definition=definition, created_ms=old.created_ms if old else now_ms, updated_ms=now_ms
        )
        self.stored[definition.name] = made
        return made

    async def delete(self, name: EndpointName) -> bool:
        return self.stored.pop(name, None) is not None

    async def load(self) -> list[StoredEndpoint]:
        return list(self.stored.values())


@dataclass
class SwitchedAlarms:
    """Alarms that a test sets. Implements ``Alarms``."""

    states: dict[str, AlarmState] = field(default_factory=dict)
    watchers: list[OnAlarm] = field(default_factory=list)

    async def put(self, rule: AlarmRule) -> None:
        self.states[rule.name] = AlarmState.INSUFFICIENT_DATA

    async def drop(self, name: str) -> None:
        self.states.pop(name, None)

    def state(self, name: str) -> AlarmState | None:
        return self.states.get(name)

    def watch(self, on_alarm: OnAlarm) -> Callable[[], None]:
        self.watchers.append(on_alarm)
        return lambda: self.watchers.remove(on_alarm)

    def become(self, name: str, state: AlarmState, reason: str = "5 is over 1") -> None:
        self.states[name] = state
        for watcher in list(self.watchers):
            watcher(name, state, reason)


class Caller:
    """A sink that waits for one answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.usage: Usage | None = None

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        self.usage = receipt.usage
        self.answer.set_result(body.decode())

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        raise AssertionError("no streams here")

    def write(self, chunk: bytes) -> None:
        raise AssertionError("no streams here")

    def end(self, receipt: Receipt) -> None:
        raise AssertionError("no streams here")

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        self.answer.set_result(f"{failure.kind}: {failure.message}")


class Rig:
    """A platform and what it stands on. ``crash`` and ``open`` again are a kill -9 and a start."""

    def __init__(self, *types: str, has_reader: bool = True, **options: object) -> None:
        self.types = types
        self.has_reader = has_reader
        self.options = options
        self.definitions = Definitions()
        self.alarms = SwitchedAlarms()
        self.engine = TimedEngine()
        self.ledger = Lines()
        self.platform: LocalPlatform
        self._ids = count(1)
        self._boots = count(1)

    async def open(self, *, has_alarms: bool = True) -> None:
        """Start a server process, by default one that hears of alarms."""
        self.engine = engine = TimedEngine()

        def controller(on_rollback: Callable[..., None]) -> Controller:
            return Controller(
                engine=engine,
                ledger=self.ledger,
                node=node(*self.types),
                rate_nanos_per_hour=1_000_000,
                boot=next(self._boots),
                smallest_type=lambda size: None,
                on_rollback=on_rollback,
            )

        async def prepare(revision: Revision) -> None:
            """Nothing is fetched."""

        self.platform = LocalPlatform(
            controller,
            self.definitions,
            engine if self.has_reader else None,
            prepare,
            **self.options,  # type: ignore[arg-type]
        )
        engine.controller = self.platform.controller
        await self.platform.open()
        if has_alarms:
            self.platform.watch_alarms(self.alarms)

    async def crash(self) -> None:
        """Forget the process; what is on disk stays."""
        self.alarms.watchers.clear()
        stored = dict(self.definitions.stored)
        await self.close()
        self.definitions.stored = stored

    async def close(self) -> None:
        """End the process in good order."""
        await self.platform.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def ask(self, variant: str | None = None, body: bytes = b"1,2") -> str:
        """Send one request; return its answer, or the failure in words."""
        caller = Caller()
        self.platform.submit(self.invocation(variant, body), caller)
        return await asyncio.wait_for(caller.answer, WAIT_S)

    def invocation(
        self, variant: str | None = None, body: bytes = b"", stream: BodyStream | None = None
    ) -> Invocation:
        """Return a request."""
        return Invocation(
            endpoint=CHAT,
            variant=None if variant is None else VariantName(variant),
            content_type="text/csv",
            body=body,
            stream=stream,
            started_s=clock.monotonic_s(),
            request=RequestId(f"q{next(self._ids)}"),
        )

    async def until(self, is_so: Callable[[], bool], what: str = "it is so") -> None:
        """Wait until something is so."""
        async with asyncio.timeout(WAIT_S):
            while True:
                if is_so():
                    return
                await asyncio.sleep(0.005)


class Load:
    """Callers who ask steadily, and what they were answered, in order."""

    def __init__(self, rig: Rig, callers: int = 2) -> None:
        self._rig = rig
        self._callers = callers
        self.answers: list[str] = []
        self._is_over = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.ensure_future(self._ask()) for _ in range(self._callers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _ask(self) -> None:
        while not self._is_over:
            self.answers.append(await self._rig.ask())
            await asyncio.sleep(0.001)

    def runs(self) -> list[str]:
        """Return the answers without repetitions in a row."""
        return [one for one, _ in groupby(self.answers)]
