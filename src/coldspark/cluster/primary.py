"""The primary's side: start the other routers, handle their messages, replace one that dies."""

import asyncio
import logging
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from coldspark import clock
from coldspark.billing.ledger import LedgerStore
from coldspark.billing.replica_accounts import ReplicaAccounts
from coldspark.cluster.fd_channel import FdChannel, reject_pending
from coldspark.cluster.messages import (
    Advices,
    Advise,
    Drain,
    Message,
    Question,
    Ready,
    Settle,
    Shares,
    Welcome,
)
from coldspark.cluster.ownership import PRIMARY, owner_of
from coldspark.cluster.placement import SharedPlacement
from coldspark.cluster.router_process import end, instance_of, reap, spawn
from coldspark.cluster.rpc import RpcConnection
from coldspark.cluster.usage_totals import RouterUsageTotals
from coldspark.config import ServerConfig
from coldspark.database.data_directory import DataDirectory
from coldspark.errors import ColdsparkError, RouterGone, StartFailed
from coldspark.fleet.placement import CandidateLookup, SmallestDeviceType
from coldspark.platform.controller import Controller
from coldspark.spec.messages import NodeJoined, ReservationReleased, Ticked
from coldspark.tasks import Tasks

T = TypeVar("T")
_log = logging.getLogger(__name__)
_READY_S = 60.0
_ADVICE_S = 0.1
"""A router that says nothing by then keeps its replicas."""
_SETTLE_S = 2.0
_END_S = 15.0
_SOUND_S = 5.0
"""One that lived so long is started anew at once."""
_PAUSE_S, _PAUSE_MAX_S = 0.2, 30.0
_PATIENCE_S = 20.0
"""How long callers wait for a router to be started anew: twice what a busy machine takes."""


@dataclass(slots=True, eq=False)
class _Worker:
    router: int
    boot: int
    process: subprocess.Popen[bytes]
    since_s: float
    connection: RpcConnection | None = None
    is_ready: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is ready, or gone."""


class Primary:
    """All routers of a server but the primary itself."""

    def __init__(
        self, config: ServerConfig, node: NodeJoined, directory: DataDirectory, cgroup: str
    ) -> None:
        """Take what every router gets. ``cgroup`` is this process's, before it moved itself."""
        self.routers = config.routers
        self._config = config
        self._node = node
        self._directory = directory
        self._cgroup = cgroup
        self.fd_channels = [FdChannel() for _ in range(config.routers)]
        self._usage_totals = RouterUsageTotals()
        self._workers: dict[int, _Worker] = {}
        self._pauses_s: dict[int, float] = {}
        self._tasks = Tasks()
        self._listeners: list[socket.socket] = []
        self._placement: SharedPlacement | None = None
        self._controller: Controller | None = None
        self._ledger: LedgerStore | None = None
        self._is_ending = False
        self._is_asking_advice = False
        self._subscribers: dict[type[Any], Callable[[Any], object]] = {}
        self._initial_messages: Callable[[], Sequence[Message]] = tuple

    # --- parts of the primary's controller ---------------------------------------------------

    def make_placement(
        self, advice_of: CandidateLookup, smallest_type: SmallestDeviceType
    ) -> SharedPlacement:
        """Make the placement of all."""
        self._placement = SharedPlacement(
            advice_of, smallest_type, deliver=self._deliver, on_short=self._seek_advice
        )
        return self._placement

    def make_accounts(self) -> ReplicaAccounts:
        """Make the accounts of the primary, which have the node's overhead."""
        rate = self._config.machine_cost.nanos_per_hour
        return ReplicaAccounts(rate, on_shares=lambda ppm: self._update_shares(PRIMARY, ppm))

    # --- subscriptions ------------------------------------------------------------------------

    def subscribe(self, kind: type[T], subscriber: Callable[[T], object]) -> None:
        """Subscribe to the routers' messages of one kind."""
        self._subscribers[kind] = subscriber

    def add_greeting(self, messages: Callable[[], Sequence[Message]]) -> None:
        """Send these first to every router that is started from here on."""
        self._initial_messages = messages

    def broadcast(self, message: Message) -> None:
        """Send a message to every router."""
        for router in self._workers:
            self._deliver(router, message)

    # --- begin and end ------------------------------------------------------------------------

    async def open(
        self, controller: Controller, ledger: LedgerStore, listeners: Sequence[Any]
    ) -> None:
        """Start all; on return all accept requests. Raises StartFailed."""
        self._controller, self._ledger = controller, ledger
        # The event loop owns the listeners: the routers get descriptors of our own.
        self._listeners = [socket.socket(fileno=os.dup(each.fileno())) for each in listeners]
        started = [await self._start(router) for router in range(1, self.routers)]
        async with asyncio.timeout(_READY_S):
            for worker in started:
                await worker.settled.wait()
        for worker in started:
            if not worker.is_ready:
                raise StartFailed(f"router {worker.router} did not start; its log says why")

    def drain(self) -> None:
        """Have every router finish what runs, and end."""
        self._is_ending = True
        for worker in self._workers.values():
            if worker.connection is not None:
                worker.connection.send(Drain())

    async def close(self) -> None:
        """Wait until all routers are gone and their ledgers closed."""
        self.drain()
        for worker in list(self._workers.values()):
            within_s = self._config.drain_timeout_s + _END_S
            await asyncio.to_thread(end, worker.process, within_s)
        await self._tasks.drain(_END_S)
        await self._tasks.close(_END_S)
        for listener in self._listeners:
            listener.close()
        for channel in self.fd_channels:
            channel.close()

    # --- requests -----------------------------------------------------------------------------

    def owner_of(self, endpoint: str) -> int:
        """Return which router an endpoint belongs to."""
        return owner_of(endpoint, self.routers)

    async def request(self, router: int, question: Question, kind: Any, timeout_s: float) -> Any:
        """Send a request to one router. Raises RouterGone, and what it raised."""
        worker = self._workers.get(router)
        if worker is None or worker.connection is None or not worker.is_ready:
            raise RouterGone(f"router {router} is being started anew; try again")
        return await worker.connection.request(question, kind, timeout_s)

    async def request_all(self, question: Question, kind: Any, timeout_s: float) -> dict[int, Any]:
        """Send a request to all routers at once; return the answers of those that gave one."""
        routers = list(self._workers)
        answers = await asyncio.gather(
            *(self.request(router, question, kind, timeout_s) for router in routers),
            return_exceptions=True,
        )
        found: dict[int, Any] = {}
        for router, answer in zip(routers, answers, strict=True):
            if isinstance(answer, ColdsparkError):
                _log.debug("router %d: %s", router, answer.message)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[router] = answer
        return found

    async def settle(self) -> None:
        """Record idle usage of all since the last settlement, overhead last."""
        boots = {router: worker.boot for router, worker in self._workers.items()}
        for router, nanos in (await self.request_all(Settle(), int, _SETTLE_S)).items():
            self._usage_totals.record_charged(boots[router], nanos)
        self.settle_own()

    def settle_own(self) -> None:
        """Record the primary's own part, and the overhead of all."""
        assert self._controller is not None
        self._controller.accounts.charge_elsewhere(self._usage_totals.nanos)
        self._controller.settle()

    # --- one router ---------------------------------------------------------------------------

    def _journal(self, router: int) -> Path:
        return self._directory.routers / str(router) / "journal"

    async def _start(self, router: int) -> _Worker:
        assert self._ledger is not None
        boot = await asyncio.to_thread(self._directory.next_boot)
        await self._ledger.add_part(boot)
        ours, theirs = socket.socketpair()
        write_ends = [channel.write_end.fileno() for channel in self.fd_channels]
        listeners = [each.fileno() for each in self._listeners]
        outlet = self.fd_channels[router].read_end.fileno()
        tag = instance_of(self._directory.instance_id, router)
        with theirs:
            process = spawn(tag, theirs, [*listeners, *write_ends, outlet])
        worker = _Worker(router, boot, process, clock.monotonic_s())
        self._workers[router] = worker
        connection = RpcConnection(
            lambda message: self._on_message(worker, message), lambda: self._lost(worker)
        )
        worker.connection = await RpcConnection.connect(ours, connection)
        connection.send(
            Welcome(
                router=router,
                config=self._config,
                node=self._node,
                boot=boot,
                instance=tag,
                cgroup=self._cgroup,
                listeners=listeners,
                write_ends=write_ends,
                read_end=outlet,
            )
        )
        for message in self._initial_messages():
            connection.send(message)
        return worker

    def _on_message(self, worker: _Worker, message: Message) -> None:
        assert self._placement is not None
        assert self._controller is not None
        match message:
            case Ready():
                worker.is_ready = True
                worker.settled.set()
            case Shares(ppm):
                self._update_shares(worker.router, ppm)
            case _ if type(message) in self._subscribers:
                self._subscribers[type(message)](message)
            case _:
                event = self._placement.event_of(worker.router, message)
                if event is not None:
                    self._controller.driver.place(event)

    def _lost(self, worker: _Worker) -> None:
        self._tasks.spawn(self._clean_up(worker))

    async def _clean_up(self, worker: _Worker) -> None:
        """Clean up after a router, then start it anew."""
        assert self._ledger is not None
        if not self._is_ending:
            _log.error("router %d (pid %d) has ended", worker.router, worker.process.pid)
            worker.process.kill()
        await asyncio.to_thread(end, worker.process, _END_S)
        await asyncio.to_thread(reap, self._directory.instance_id, worker.router, self._cgroup)
        nanos = await self._ledger.ingest_part(self._journal(worker.router), worker.boot)
        self._usage_totals.record_ended(worker.boot, nanos)
        self._release(worker.router)
        del self._workers[worker.router]
        worker.is_ready = False
        was_ready = worker.settled.is_set()
        worker.settled.set()
        if was_ready and not self._is_ending:
            await self._restart(worker)

    def _release(self, router: int) -> None:
        assert self._placement is not None
        assert self._controller is not None
        for replica in self._placement.held_by(router):
            self._controller.driver.place(ReservationReleased(replica))
        self._publish_shares(self._usage_totals.remove_router(router))

    async def _restart(self, worker: _Worker) -> None:
        router = worker.router
        is_sound = worker.is_ready or clock.monotonic_s() - worker.since_s >= _SOUND_S
        before_s = 0.0 if is_sound else self._pauses_s.get(router, 0.0)
        pause_s = 0.0 if is_sound else min(_PAUSE_MAX_S, 2 * before_s or _PAUSE_S)
        self._pauses_s[router] = pause_s
        await asyncio.sleep(pause_s)
        if self._is_ending:
            return
        restarted = await self._start(router)
        while not restarted.settled.is_set():
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await restarted.settled.wait()
            except TimeoutError:
                reject_pending(self.fd_channels[router].read_end)
        if restarted.is_ready:
            _log.warning("router %d was started anew (pid %d)", router, restarted.process.pid)
        elif not self._is_ending:
            reject_pending(self.fd_channels[router].read_end)
            await self._restart(restarted)

    # --- between routers ----------------------------------------------------------------------

    def _deliver(self, router: int, message: Message) -> None:
        worker = self._workers.get(router)
        if worker is not None and worker.connection is not None:
            worker.connection.send(message)

    def _update_shares(self, router: int, shares_ppm: int) -> None:
        self._publish_shares(self._usage_totals.set_shares(router, shares_ppm))

    def _publish_shares(self, changes: dict[int, int]) -> None:
        for router, elsewhere_ppm in changes.items():
            if router != PRIMARY:
                self._deliver(router, Shares(elsewhere_ppm))
            elif self._controller is not None:
                self._controller.accounts.set_shares_elsewhere(elsewhere_ppm)

    def _seek_advice(self) -> None:
        if not self._is_asking_advice:
            self._is_asking_advice = True
            self._tasks.spawn(self._take_advice())

    async def _take_advice(self) -> None:
        assert self._placement is not None
        assert self._controller is not None
        try:
            answers = await self.request_all(Advise(), Advices, _ADVICE_S)
        finally:
            self._is_asking_advice = False
        advice: Advices = {}
        for each in answers.values():
            advice |= each
        self._placement.advised(advice)
        self._controller.driver.place(Ticked())
