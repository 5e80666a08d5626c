"""A whole gateway over TCP on a real fleet, whose wall clock the test moves.

Platform, metrics, alarms and scaling are the real ones. The engine's replicas are ready at once and
keep a request until they are told to answer, so load is what callers really hold open. A data point
is taken, alarms are looked at and targets too when the test says that time has passed.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
from botocore.config import Config
from fake_services import FakeKeys
from service_model import error_problems, problems
from starlette.applications import Starlette
from starlette.routing import Route

from coldspark import clock
from coldspark.autoscaling.alarms import LocalAlarmRepository
from coldspark.autoscaling.service import AutoscalingService
from coldspark.billing.ledger import LedgerStore
from coldspark.database.database import Database
from coldspark.database.documents import Documents
from coldspark.doors.aws.autoscaling import activities
from coldspark.doors.aws.autoscaling.operations import application_autoscaling
from coldspark.doors.aws.autoscaling.target_ids import POLICY_MARK, policy_of
from coldspark.doors.aws.cloudwatch.alarm_reasons import explain
from coldspark.doors.aws.cloudwatch.operations import cloudwatch
from coldspark.doors.aws.protocol.routes import aws_endpoint
from coldspark.doors.aws.sagemaker.operations import sagemaker
from coldspark.doors.aws.sagemaker.runtime.door import SageMakerDoor
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.context import HttpContext
from coldspark.http.counters import RequestCounters
from coldspark.http.door_match import DoorMatcher
from coldspark.http.server import serve
from coldspark.platform import catalogue
from coldspark.platform.controller import Controller
from coldspark.platform.endpoints_table import Endpoints
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import EndpointView, Invocation, LogLine, ReplySink, StartOrder
from coldspark.spec.messages import NodeJoined, Reservation
from coldspark.spec.types import (
    EndpointName,
    Exit,
    NodeId,
    ReplicaId,
    RequestId,
    Revision,
    RootCause,
)
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.metric_service import MetricService
from coldspark.telemetry.sampler import MetricSampler, variant_contexts

NOON_MS = 1_800_000_000_000
"""A whole hour, a Friday in 2027, 08:00 UTC."""
ROLE = "arn:aws:iam::123456789012:role/sagemaker"
INSTANCES = "sagemaker:variant:DesiredInstanceCount"
CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
_NODE = NodeJoined(node=NodeId("n"), memory_bytes=2**40, vcpus=4_096.0)
_STOPPED = Exit(cause=RootCause.UNKNOWN, message="stopped", exit_status=0)


class HoldingEngine:
    """An engine whose replicas are ready at once and keep every request until it is let go."""

    def __init__(self) -> None:
        self.controller: Controller | None = None
        self.held: dict[RequestId, ReplySink] = {}
        self.is_stuck = False
        """Replicas start, and are never ready."""

    def start(self, order: StartOrder) -> None:
        assert self.controller is not None
        if not self.is_stuck:
            asyncio.get_running_loop().call_soon(self.controller.on_ready, order.replica)

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        assert self.controller is not None
        asyncio.get_running_loop().call_soon(self.controller.on_exited, replica, _STOPPED)

    @property
    def parking(self) -> "HoldingEngine":
        return self

    def park(self, replica: ReplicaId) -> None:
        assert self.controller is not None
        asyncio.get_running_loop().call_soon(self.controller.on_park_failed, replica, "no")

    def unpark(self, replica: ReplicaId, grant: Reservation | None = None) -> None:
        raise AssertionError("nothing is parked here")

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> None:
        if invocation.body == b"quick":
            asyncio.get_running_loop().call_soon(sink.on_reply, 200, (), b"done", None)
        else:
            self.held[invocation.request] = sink

    def let_go(self) -> None:
        """Answer all that is held."""
        held, self.held = self.held, {}
        for sink in held.values():
            sink.on_reply(200, (), b"done", None)

    def abort(self, replica: ReplicaId, request: RequestId) -> None:
        self.held.pop(request, None)

    def log_tail(self, replica: ReplicaId, lines: int) -> tuple[str, ...]:
        return ()

    def logs(self, endpoint: EndpointName, lines: int) -> list[LogLine]:
        return []

    def template(self, replica: ReplicaId) -> str | None:
        return None


class World:
    """One server on a directory, and the way to it."""

    def __init__(self, path: Path, now_ms: int, boot: int) -> None:
        self.path = path
        self.boot = boot
        self.now_ms = now_ms
        self.loop = asyncio.new_event_loop()
        self.url = ""
        self._callers: list[threading.Thread] = []
        self._is_up, self._is_over = threading.Event(), asyncio.Event()

    def wall_ms(self) -> int:
        return self.now_ms

    def client(self, service: str = "application-autoscaling", region: str = "us-east-1") -> Any:
        """Return a client of boto3's, unmodified; each answer is held against AWS's model."""
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="ANYKEY",
            aws_secret_access_key="any",
            config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
        )
        if service != "sagemaker-runtime":
            client.meta.events.register(f"after-call.{service}", _check)
        return client

    def deploy(self, name: str, **variant: Any) -> None:
        """Create a model, a config and an endpoint; by default of one instance."""
        aws = self.client("sagemaker")
        kind = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        if "ServerlessConfig" in variant:
            kind = {}
        container = {"Image": "coldspark/python", "ModelDataUrl": "file:///models/churn.tar.gz"}
        aws.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        sent = {"VariantName": "v", "ModelName": name, **kind, **variant}
        aws.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[sent])
        aws.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def shown(self, name: str) -> dict[str, Any]:
        """Return the variant as DescribeEndpoint shows it."""
        endpoint = self.client("sagemaker").describe_endpoint(EndpointName=name)
        (found,) = endpoint["ProductionVariants"]
        assert isinstance(found, dict)
        return found

    def load(self, name: str, count: int, component: str | None = None) -> None:
        """Hold so many requests open, each by a caller of its own."""
        named = {} if component is None else {"InferenceComponentName": component}

        def call() -> None:
            runtime = self.client("sagemaker-runtime")
            answer = runtime.invoke_endpoint(EndpointName=name, Body=b"x", **named)
            assert answer["Body"].read() == b"done"

        wanted = self.open_requests() + count
        for _ in range(count):
            self._callers.append(threading.Thread(target=call))
            self._callers[-1].start()
        pause = threading.Event()
        for _ in range(2_000):
            if self.open_requests() >= wanted:
                return
            pause.wait(0.005)
        raise TimeoutError(f"{self.open_requests()} requests are open, not {wanted}")

    def open_requests(self) -> int:
        """Return how many requests run or wait."""
        return self.run(self._count_open())

    def let_go(self) -> None:
        """Let every request that is held, or waits for its turn, be answered."""
        while any(caller.is_alive() for caller in self._callers):
            self.run(self._let_go())
            for caller in self._callers:
                caller.join(0.02)
        self._callers.clear()

    def pass_periods(self, count: int = 1) -> None:
        """Let so many times ten seconds pass: measured in their middle, looked at in their end."""
        for _ in range(count):
            self.run(self._period())

    def look(self) -> None:
        """Look at all targets, at the time that it is."""
        self.run(self.scaling.evaluate_due(self.now_ms))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _count_open(self) -> int:
        views = self.platform.endpoints()
        return sum(
            variant.queued + sum(replica.running for replica in variant.replicas)
            for view in views
            for variant in view.variants
        )

    async def _let_go(self) -> None:
        self.engine.let_go()

    async def _period(self) -> None:
        self.now_ms += 5_000
        await self.sampler.sample_concurrency()
        self.now_ms += 5_000
        await self.alarms.evaluate_due(self.now_ms)
        await self.scaling.evaluate_due(self.now_ms)

    async def listen(self) -> None:
        """Serve until it is over."""
        database = Database.open(self.path / "coldspark.db")
        ledger = LedgerStore(
            self.path / "journal", database, boot=self.boot, wall_ms=self.wall_ms, ingest_every_s=60
        )
        await ledger.open()
        self.engine = HoldingEngine()
        self.platform = self._platform(database, ledger)
        self.engine.controller = self.platform.controller
        documents = Documents(database, self.wall_ms)
        self.metrics = MetricService(
            database,
            wall_ms=self.wall_ms,
            absorb=ledger.ingest,
            standings=lambda: variant_contexts(self.platform.endpoints()),
        )
        self.alarms = AlarmService(database, self.metrics, wall_ms=self.wall_ms, explain=explain)
        self.sampler = MetricSampler(self.metrics, self._see, _measure_nothing, self.wall_ms)
        kept = LocalAlarmRepository(self.alarms, self.metrics, policy_of)
        self.scaling = AutoscalingService(
            self.platform, documents, kept, wall_ms=self.wall_ms, explain=activities.explain
        )
        self.alarms.add_action_handler(POLICY_MARK, self.scaling.on_action)
        await self.platform.open()
        await self.alarms.open(is_timed=False)
        await self.scaling.open(is_timed=False)
        gate = Authentication(Authenticator(FakeKeys()))
        services = [
            sagemaker(self.platform, documents, catalogue.load()),
            cloudwatch(self.metrics, self.alarms, documents, self.wall_ms),
            application_autoscaling(self.scaling),
        ]
        route = Route("/", aws_endpoint(services, gate.identify), methods=["POST"])
        context = HttpContext(
            platform=self.platform,
            door_matcher=DoorMatcher([SageMakerDoor()]),
            authentication=gate,
            app=Starlette(routes=[route]),
            counters=RequestCounters(),
        )
        async with serve(context, "127.0.0.1", 0, grace_s=0.0) as listening:
            self.url = listening.url
            self._is_up.set()
            await self._is_over.wait()
        await self.scaling.close()
        await self.alarms.close()
        await self.metrics.close()
        await self.platform.close()
        await ledger.close()
        database.close()

    def _platform(self, database: Database, ledger: LedgerStore) -> LocalPlatform:
        async def prepare(revision: Revision) -> None:
            pass

        return LocalPlatform(
            lambda on_rollback: Controller(
                engine=self.engine,  # type: ignore[arg-type]
                ledger=ledger,
                node=_NODE,
                rate_nanos_per_hour=0,
                boot=self.boot,
                smallest_type=lambda size_bytes: None,
                on_rollback=on_rollback,
            ),
            Endpoints(database, self.wall_ms),
            self.engine,
            prepare,
            wall_ms=self.wall_ms,
        )

    async def _see(self) -> Sequence[EndpointView]:
        return self.platform.endpoints()

    def start(self) -> threading.Thread:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self.loop.run_until_complete, args=[self.listen()])
        thread.start()
        assert self._is_up.wait(20)
        return thread

    def end(self, thread: threading.Thread) -> None:
        """End it."""
        self.loop.call_soon_threadsafe(self._is_over.set)
        thread.join(20)
        self.loop.close()


@contextmanager
def world(path: Path, now_ms: int = NOON_MS, boot: int = 1) -> Iterator[World]:
    """Serve while the block runs; what it left on disk is there for the next ``boot``."""
    made = World(path, now_ms, boot)
    with patch.object(clock, "wall_ms", made.wall_ms):
        yield from _served(made)


def _served(made: World) -> Iterator[World]:
    thread = made.start()
    try:
        yield made
    finally:
        if thread.is_alive():
            made.let_go()
        made.end(thread)


def place(name: str, dimension: str = INSTANCES) -> dict[str, str]:
    """Return the members that name a target."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/v",
        "ScalableDimension": dimension,
    }


async def _measure_nothing() -> Sequence[Any]:
    return ()


def _check(http_response: Any, model: Any, **_: object) -> None:
    """Hold one answer against the service model."""
    service = model.service_model.service_name
    if http_response.status_code >= 400:
        assert error_problems(service, http_response) == []
    elif http_response.headers["content-type"].startswith("application/x-amz-json"):
        body = json.loads(http_response.content) if http_response.content else None
        assert problems(model.name, body, service=service) == []
