"""One router beside the primary: ``python -m coldspark.server.worker_process FD PARENT``.

It is a process of the server around a store, a placement and a ledger that are not its own alone.
It ends with the primary, whatever becomes of that: by the kernel's signal, and by the link's end.
"""

import asyncio
import os
import signal
import socket
import sys

import uvloop

from coldspark.billing.replica_accounts import ReplicaAccounts
from coldspark.cluster.alarm_cache import AlarmStateCache
from coldspark.cluster.messages import (
    BodyReleased,
    Drain,
    Message,
    Question,
    Ready,
    Shares,
    WebhookEventsStored,
    Welcome,
)
from coldspark.cluster.metric_forwarder import MetricForwarder
from coldspark.cluster.placement import RemotePlacement
from coldspark.cluster.rpc import RpcConnection
from coldspark.cluster.shared_jobs import RemoteOutbox
from coldspark.cluster.worker_rpc import WorkerRpc
from coldspark.database.data_directory import read_master_key
from coldspark.fleet.placement import CandidateLookup, SmallestDeviceType
from coldspark.node.cgroups import detect
from coldspark.node.worker.kernel_calls import set_parent_death_signal
from coldspark.platform import catalogue as catalogues
from coldspark.server.doors import DOORS, build_context
from coldspark.server.process import ProcessIdentity, RouterDependencies, ServerProcess, log
from coldspark.server.run import set_up_logging, tune_garbage_collector


class PrimaryLink:
    """The connection to the primary, before and after there is somebody to answer it."""

    def __init__(self) -> None:
        self.welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self.drained = asyncio.Event()
        self.alarms = AlarmStateCache()
        self.worker: WorkerRpc | None = None
        self.connection = RpcConnection(self._on_message, self._on_lost, self._answer)

    def send(self, message: Message) -> None:
        """Tell the primary."""
        self.connection.send(message)

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Welcome):
            self.welcome.set_result(message)
        elif isinstance(message, Drain):
            self.drained.set()
        elif self.alarms.apply(message) or self.worker is None:
            return
        else:
            self.worker.on_message(message)

    def _on_lost(self) -> None:
        # Without the primary there is no placement and nobody who would answer for the ledger: what
        # was answered is in the journal, and what runs ends with its templates' sockets.
        os._exit(1)

    async def _answer(self, question: Question) -> object:
        assert self.worker is not None, "asked before it was ready"
        return await self.worker.answer(question)


class WorkerProcess(ServerProcess):
    """A router beside the primary."""

    def __init__(self, welcome: Welcome, link: PrimaryLink) -> None:
        super().__init__(welcome.config, catalogues.load(), welcome.node, DOORS)
        self._welcome = welcome
        self._link = link

    async def _open(self) -> None:
        welcome, link, data = self._welcome, self._link, self.config.data
        own = data / "routers" / str(welcome.router)
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.identity = ProcessIdentity(
            router=welcome.router,
            data=data,
            directory=own,
            instance=welcome.instance,
            boot=welcome.boot,
            master_key=read_master_key(data),
        )
        await self._open_store(on_body_released=lambda body: link.send(BodyReleased(body)))
        metrics = MetricForwarder(link.send)
        self._stack.callback(metrics.flush)
        cgroups = detect(welcome.instance, own=welcome.cgroup)
        await self._open_engine(self._routed(), cgroups)
        self.engine.measure_into(metrics)
        self.platform.watch_alarms(link.alarms)

        def on_event() -> None:
            link.send(WebhookEventsStored())

        group, events = self._open_webhook_events()
        runner = self._new_runner(group, metrics, on_event)
        self.jobs, self.webhooks = runner, RemoteOutbox(events, on_event)
        self.context = build_context(self.door_dependencies(), spool_directory=own)
        # From here on the primary is answered: bringing endpoints back asks it for room.
        link.worker = self._new_rpc(metrics)
        await self._open_platform()
        await self._open_runner(runner)
        log.info("router %d: %s", welcome.router, self.engine.describe())
        await self._listen(
            [socket.socket(fileno=number) for number in welcome.write_ends],
            socket.socket(fileno=welcome.read_end),
            [socket.socket(fileno=number) for number in welcome.listeners],
        )

    def _new_rpc(self, metrics: MetricForwarder) -> WorkerRpc:
        placement = self.platform.controller.placement
        assert isinstance(placement, RemotePlacement)
        return WorkerRpc(
            platform=self.platform,
            engine=self.engine,
            ledger=self.store.ledger,
            keys=self.store.keys,
            counters=self.context.counters,
            placement=placement,
            alarms=self._link.alarms,
            metrics=metrics,
            jobs=self.jobs,
        )

    def _routed(self) -> RouterDependencies:
        link = self._link

        def placement(
            advice_of: CandidateLookup, smallest_type: SmallestDeviceType
        ) -> RemotePlacement:
            return RemotePlacement(smallest_type, link.send)

        async def settle() -> None:
            """Leave it to the primary, which asks all at once: then its overhead is right."""

        return RouterDependencies(
            placement=placement,
            accounts=ReplicaAccounts(
                self.config.machine_cost.nanos_per_hour,
                has_overhead=False,
                on_shares=lambda ppm: link.send(Shares(ppm)),
            ),
            settle=settle,
        )


async def _run(end: socket.socket) -> None:
    link = PrimaryLink()
    await RpcConnection.connect(end, link.connection)
    welcome = await link.welcome
    set_up_logging(welcome.config)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, link.drained.set)
    async with WorkerProcess(welcome, link):
        tune_garbage_collector()
        link.send(Ready())
        await link.drained.wait()


def main(descriptor: int, parent: int) -> None:
    """Serve until the primary says otherwise, or ends."""
    set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        # It was gone before the line above.
        raise SystemExit(1)
    uvloop.run(_run(socket.socket(fileno=descriptor)))
    # Asking the link to end in order would only race with the end of the process.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
