"""The models of one replica that has many: fetched once, given up with their call, measured."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.errors import ArtifactUnavailable
from coldspark.node.models.model_load import TargetModelOutcome
from coldspark.node.models.target_models import ModelMeter, TargetModels, url_of
from coldspark.node.transport.channel import CANCELLED
from coldspark.node.worker.multi_model_server import DIRECTORY, DOINGS
from coldspark.platform.metric_ports import Metric
from coldspark.platform.ports import Invocation
from coldspark.spec.multi_model import MultiModel
from coldspark.spec.types import EndpointName, Failure, FailureKind, RequestId


class Caller:
    """A ``ReplySink`` that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *said: self.heard.append((name, *said))


class House:
    """Models over an upstream and a store that a test answers for."""

    def __init__(self) -> None:
        self.sent: list[tuple[Invocation, Any]] = []
        self.flows: list[str] = []
        self.aborted: list[RequestId] = []
        self.fetched: list[str] = []
        self.told: list[TargetModelOutcome] = []
        self.store: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        self.tasks: list[asyncio.Task[None]] = []
        self.models = TargetModels(
            MultiModel(prefix="s3://b/m/"), self, self._fetch, self._spawn, self.told.append
        )

    async def _fetch(self, url: str) -> Path:
        self.fetched.append(url)
        return await asyncio.shield(self.store)

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.ensure_future(work))  # type: ignore[arg-type]
        return self.tasks[-1]

    def call(self, invocation: Invocation, sink: Any) -> "House":
        self.sent.append((invocation, sink))
        return self

    def abort(self, request: RequestId) -> None:
        self.aborted.append(request)

    def pause(self) -> None:
        self.flows.append("pause")

    def resume(self) -> None:
        self.flows.append("resume")

    def ask(self, number: int, target: str = "a.tar.gz") -> tuple[Any, Caller]:
        caller = Caller()
        invocation = Invocation(
            endpoint=EndpointName("e"),
            started_s=0.0,
            request=RequestId(str(number)),
            target=target,
        )
        return self.models.call(invocation, caller), caller

    async def settle(self) -> None:
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def answer(self, at: int, **doings: Any) -> None:
        headers = [("content-type", "text/csv"), (DOINGS, json.dumps(doings))]
        self.sent[at][1].on_reply(200, headers, b"1", 5)


def test_files_are_fetched_once_and_the_directory_is_said_to_the_replica() -> None:
    """The second call goes at once; after an eviction they are fetched again."""

    async def main() -> None:
        house = House()
        flow, caller = house.ask(1)
        flow.pause()
        assert house.sent == []
        assert house.models.urls == {"s3://b/m/a.tar.gz"}
        house.store.set_result(Path("/here"))
        await house.settle()
        ((sent, _),) = house.sent
        assert sent.headers == ((DIRECTORY, "/here"),)
        flow.resume()
        assert house.flows == ["pause", "resume"]
        house.answer(0, load_us=7, loaded=1)
        assert caller.heard == [("on_reply", 200, [("content-type", "text/csv")], b"1", 5)]
        assert house.told[0].fetch_us is not None
        assert not house.told[0].is_hit

        house.ask(2)
        assert len(house.sent) == 2
        house.answer(1, evicted=["a.tar.gz"], unload_us=3)
        assert house.told[1].is_hit
        assert house.models.urls == set()
        house.ask(3)
        await house.settle()
        assert house.fetched == ["s3://b/m/a.tar.gz"] * 2

    asyncio.run(main())


def test_a_call_is_given_up_while_its_model_is_on_its_way() -> None:
    """It hears its end once; one that went out is the replica's to give up."""

    async def main() -> None:
        house = House()
        _, caller = house.ask(1)
        await asyncio.sleep(0)
        house.models.abort(RequestId("1"))
        house.store.set_result(Path("/here"))
        await house.settle()
        assert caller.heard == [("on_failure", CANCELLED)]
        assert house.sent == []
        house.models.abort(RequestId("2"))
        assert house.aborted == [RequestId("2")]

    asyncio.run(main())


def test_a_replica_that_is_gone_says_nothing() -> None:
    """What speaks for it is its exit."""

    async def main() -> None:
        house = House()
        _, caller = house.ask(1)
        await asyncio.sleep(0)
        house.models.void()
        house.store.set_result(Path("/here"))
        await house.settle()
        assert caller.heard == []

    asyncio.run(main())


def test_a_missing_model_is_told_in_awss_words() -> None:
    """And why the store has none."""

    async def main() -> None:
        house = House()
        _, caller = house.ask(1)
        house.store.set_exception(ArtifactUnavailable("no such key"))
        await house.settle()
        ((_, failure),) = caller.heard
        assert isinstance(failure, Failure)
        assert failure.kind is FailureKind.INVALID_REQUEST
        assert failure.message == (
            "Failed to download model data(s3://b/m/a.tar.gz). Please ensure that there is an"
            " object located at the URL: no such key"
        )

    asyncio.run(main())


def test_what_became_of_a_model_is_measured_in_cloudwatchs_words() -> None:
    """Hits as 1 and 0; times only where something took time."""
    taken: list[tuple[str, float, str]] = []

    class Book:
        def add(
            self, metric: Metric, value: float, at_ms: int, *, unit: str = "None", count: float = 1
        ) -> None:
            assert to_namespace(metric.namespace) == "AWS/SageMaker"
            assert metric.dimensions == (("EndpointName", "e"), ("VariantName", "v"))
            taken.append((metric.name, value, unit))

    async def main() -> None:
        house = House()
        house.store.set_result(Path("/here"))
        house.ask(1)
        await house.settle()
        house.answer(0, load_us=7, unload_us=3, evicted=["b"])
        house.ask(2)
        house.sent[1][1].on_reply(200, [], b"", None)
        meter = ModelMeter(metrics=Book(), endpoint="e", variant="v")  # type: ignore[arg-type]
        for told in house.told:
            meter.record(told)
        names = [name for name, _, _ in taken]
        assert names == [
            "ModelCacheHit",
            "ModelLoadingWaitTime",
            "ModelLoadingTime",
            "ModelDownloadingTime",
            "ModelUnloadingTime",
            "ModelCacheHit",
        ]
        assert (taken[0], taken[-1]) == (
            ("ModelCacheHit", 0.0, "None"),
            ("ModelCacheHit", 1.0, "None"),
        )
        assert ("ModelLoadingTime", 7, "Microseconds") in taken

    asyncio.run(main())


def test_an_address_is_an_archives_or_a_directorys() -> None:
    """Paths of this machine are quoted; S3 has prefixes."""
    assert url_of("file:///m/", "a b%.tar.gz") == "file:///m/a%20b%25.tar.gz"
    assert url_of("s3://b/m/", "x/a.tar.gz") == "s3://b/m/x/a.tar.gz"
    assert url_of("s3://b/m/", "x/a") == "s3://b/m/x/a/"
