"""A door is one record: whoever must know of it reads the registry, and is told nowhere else."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_services import Rig
from gateway_fakes import echo
from native_client import served
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route as AppRoute

from coldspark import clock
from coldspark.cluster.handoff import Handoff
from coldspark.cluster.ownership import PRIMARY, owner_of
from coldspark.cluster.shared_platform import SnapshotRefreshMiddleware
from coldspark.database.database import Database
from coldspark.doors.door import Door, DoorDependencies, DoorRegistry, OpenDoor
from coldspark.doors.native.invocations import NativeDoor
from coldspark.doors.native.jobs import NativeJobDoor
from coldspark.http.door import Route
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.object_store import ObjectStore
from coldspark.server.doors import DOORS
from coldspark.spec.types import EndpointName

ROUTERS = 2
MINE, THEIRS = "d", "b"
"""Endpoints of the two routers."""


class ToyInvocations(NativeDoor):
    """``POST /toys/{endpoint}/run``."""

    def match(self, method: str, raw_path: str, query: str) -> Route | None:
        """Return the route of an invocation."""
        words = raw_path.split("/")
        is_run = method == "POST" and words[1:2] == ["toys"] and words[3:] == ["run"]
        return Route(self, EndpointName(words[2])) if is_run else None


async def _shelf(request: Request) -> Response:
    return PlainTextResponse("all toys")


async def _no_such_toy(request: Request, error: Exception) -> Response:
    return PlainTextResponse("no such toy", 404)


def _open(dependencies: DoorDependencies) -> OpenDoor:
    return OpenDoor(
        invocations=ToyInvocations(),
        routes=[AppRoute("/toys", _shelf, methods=["GET"])],
        errors={404: _no_such_toy},
    )


JOBS = NativeJobDoor()
TOY = Door(
    name="toy",
    open=_open,
    paths=("/toys",),
    endpoint_paths=("/toys/",),
    overview_paths=("/toys", "/toys/all/*"),
    documented_paths=("/toys/{endpoint}/run",),
    jobs={"toy": JOBS},
)
REGISTRY = DoorRegistry([*DOORS, TOY])


def test_a_door_gets_its_routes_its_hot_path_and_its_own_errors() -> None:
    """Other doors' errors stay theirs; a wrong method is the first door's to answer."""

    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.get("/toys")).text == "all toys"
        assert (await client.post("/toys/churn/run", content=b"hello")).content == b"hello"
        lost = await client.get("/toys/nothing/here")
        assert (lost.status_code, lost.text) == (404, "no such toy")
        others = await client.get("/toysmith")
        assert others.json()["error"]["code"] == "NotFound"
        openai = await client.get("/v1/toys")
        assert openai.json()["error"]["message"].startswith("Invalid URL")
        assert (await client.delete("/toys")).json()["error"]["code"] == "MethodNotAllowed"
        near = (await client.get("/toy/endpoint/run")).json()["error"]["near"]
        assert near[0] == "/toys/{endpoint}/run"

    rig = Rig(doors=REGISTRY)
    rig.platform.script = echo
    served(rig, body)


def test_its_paths_are_names_that_no_bucket_may_have(tmp_path: Path) -> None:
    """And S3, which takes every path that is nobody's, leaves them alone."""

    async def body(client: httpx.AsyncClient) -> None:
        refused = await client.put("/toys")
        assert refused.status_code == 400
        assert "/toys belongs to another API" in refused.text
        assert (await client.put("/dolls")).status_code == 200
        assert (await client.get("/toys/x")).text == "no such toy"
        assert "NoSuchKey" in (await client.get("/dolls/x")).text

    database = Database.open(tmp_path / "coldspark.db")
    try:
        buckets = LocalBuckets(database, tmp_path / "buckets", clock.wall_ms)
        asyncio.run(buckets.open())
        served(Rig(doors=REGISTRY, objects=ObjectStore(buckets, {})), body)
    finally:
        database.close()


@pytest.mark.parametrize(
    ("method", "path", "owner"),
    [
        ("POST", f"/toys/{MINE}/run", owner_of(MINE, ROUTERS)),
        ("POST", f"/toys/{THEIRS}/run", owner_of(THEIRS, ROUTERS)),
        ("GET", f"/toys/{THEIRS}/state", owner_of(THEIRS, ROUTERS)),
        ("GET", f"/v1/endpoints/{THEIRS}", owner_of(THEIRS, ROUTERS)),
        ("GET", f"/endpoints/{THEIRS}/elsewhere", owner_of(THEIRS, ROUTERS)),
        ("GET", "/toys", PRIMARY),
    ],
)
def test_requests_for_an_endpoint_go_to_its_router(method: str, path: str, owner: int) -> None:
    """Invocations, and whatever else its paths say of one endpoint."""
    assert owner_of(THEIRS, ROUTERS) != owner_of(MINE, ROUTERS)
    context = Rig(doors=REGISTRY).context()
    ends = socket.socketpair()
    try:
        handoff = Handoff(PRIMARY, ends, context, 1_000, REGISTRY)
        target = context.door_matcher.match(method.encode(), path.encode())
        assert handoff.owner_of_target(target) == owner
    finally:
        for end in ends:
            end.close()


@pytest.mark.parametrize(
    ("path", "is_asked"),
    [
        ("/toys", True),
        ("/toys/all/red", True),
        ("/toys/a/state", False),
        ("/v1/endpoints", True),
        ("/v1/endpoints/a", False),
        ("/v1/models/a", True),
        ("/v1/requests", True),
        ("/metrics", True),
        ("/", True),
        ("/healthz", False),
    ],
)
def test_what_is_about_all_endpoints_is_answered_for_all_routers(path: str, is_asked: bool) -> None:
    """Each is asked before; what is about one endpoint is at its owner already."""
    asked: list[str] = []

    async def refresh() -> None:
        asked.append(path)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Answer nothing."""

    async def nothing(*_: object) -> Any:
        return None

    middleware = SnapshotRefreshMiddleware(app, REGISTRY, refresh)
    asyncio.run(middleware({"type": "http", "path": path}, nothing, nothing))
    assert asked == ([path] if is_asked else [])


def test_jobs_find_their_door_and_doors_keep_their_order() -> None:
    """The first door answers what is nobody's, so one that is added goes behind it."""
    assert REGISTRY.jobs["toy"] is JOBS
    assert set(DOORS.jobs) == {"native", "sagemaker"}
    assert [door.name for door in REGISTRY] == [*(door.name for door in DOORS), "toy"]
    assert DOORS.reserved_names | {"toys"} == REGISTRY.reserved_names
    silent = DoorRegistry([replace(TOY, paths=(), jobs={})])
    assert silent.reserved_names == frozenset()
