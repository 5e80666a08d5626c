"""What else becomes of requests: copies for a shadow, lines of a capture; no caller pays."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from platform_rig import CHAT, Load, Rig, endpoint, revision, variant

from coldspark.doors.aws.sagemaker.capture_lines import CAPTURE_FORMAT
from coldspark.errors import ArtifactUnavailable, InvalidRequest
from coldspark.platform import shadow
from coldspark.platform.body_stream import whole
from coldspark.platform.capture import capture
from coldspark.platform.capture.capture import SIDE_BYTES_MAX, CaptureService
from coldspark.platform.capture.spool import CaptureSpool
from coldspark.platform.ports import TapsView
from coldspark.platform.storage_ports import StoredObject
from coldspark.spec.types import CaptureRule

PLAIN = revision("old", replicas_min=1, replicas_max=2)
SHADOW = revision("dim", replicas_max=1)
RULE = CaptureRule(
    percent=100,
    destination="s3://captured/prefix/",
    has_input=True,
    has_output=True,
    csv_types=("text/csv",),
)


def spool_in(directory: Path, adopts_from: Path | None = None) -> CaptureSpool:
    """Return the spool in a directory."""
    return CaptureSpool(directory, CAPTURE_FORMAT, adopts_from=adopts_from)


class Bucket:
    """Object storage in memory that can be shut or made slow. Implements ``ObjectStorage``."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.is_shut = False
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def write(
        self,
        url: str,
        body: bytes | AsyncIterator[bytes],
        *,
        content_type: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> StoredObject:
        await self.is_open.wait()
        if self.is_shut:
            raise ArtifactUnavailable(f"{url}: the bucket is shut")
        assert isinstance(body, bytes)
        self.objects[url] = body
        return StoredObject(url=url, size_bytes=len(body), etag="e", modified_ms=0)

    async def head(self, url: str) -> StoredObject:
        raise AssertionError("nothing is read")

    async def read(self, url: str, *, bytes_max: int) -> bytes:
        raise AssertionError("nothing is read")

    async def stream(
        self, url: str, start: int = 0, end: int | None = None
    ) -> tuple[StoredObject, AsyncIterator[bytes]]:
        raise AssertionError("nothing is read")

    async def delete(self, url: str) -> None:
        raise AssertionError("nothing is deleted")

    async def list(self, prefix: str) -> Sequence[StoredObject]:
        raise AssertionError("nothing is listed")

    def lines(self) -> "list[dict[str, dict[str, object]]]":
        """Return what was written, line by line."""
        return [json.loads(line) for body in self.objects.values() for line in body.splitlines()]


def taps(rig: Rig) -> TapsView:
    """Return the counts."""
    found = rig.platform.endpoint(CHAT).taps
    assert found is not None
    return found


def test_a_shadow_gets_its_share_of_copies_and_nobody_hears_it() -> None:
    """A quarter of the requests, with lines of their own in the ledger."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        await rig.platform.deploy(
            endpoint(variant("main", PLAIN), shadows=(variant("dim", SHADOW, 0.25),))
        )
        await rig.ask()
        for _ in range(19):
            assert await rig.ask() == "old"
        await rig.until(lambda: sum(one.variant == "dim" for one in rig.ledger.usages) == 5)
        copies = [one for one in rig.ledger.usages if one.variant == "dim"]
        originals = {one.request for one in rig.ledger.usages if one.variant == "main"}
        assert {one.request.removesuffix(shadow.SHADOW_SUFFIX) for one in copies} < originals
        assert all(one.request.endswith(shadow.SHADOW_SUFFIX) for one in copies)
        assert taps(rig) == TapsView(copied=5)
        assert [one.name for one in rig.platform.endpoint(CHAT).shadows] == ["dim"]
        assert (await rig.ask("dim")).startswith("InvalidRequest")
        # Without its shadow the endpoint has no tap at all.
        await rig.platform.deploy(endpoint(variant("main", PLAIN)))
        assert rig.platform.endpoint(CHAT).taps is None
        await rig.until(lambda: len(list(rig.platform.controller.hosted_fleets())) == 1)
        await rig.close()

    asyncio.run(run())


def test_a_shadow_that_fails_is_not_noticed() -> None:
    """Its failure is in the ledger alone."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        bad = revision("bad", replicas_max=1, failed_starts_max=1)
        await rig.platform.deploy(endpoint(variant("main", PLAIN), shadows=(variant("dim", bad),)))
        async with Load(rig) as load:
            await rig.until(lambda: any(one.error for one in rig.ledger.usages))
        assert set(load.answers) == {"old"}
        assert {one.variant for one in rig.ledger.usages if one.error} == {"dim"}
        await rig.close()

    asyncio.run(run())


def test_copies_are_dropped_under_pressure_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While callers wait, while copies wait, and where the body is long or still comes."""
    monkeypatch.setattr(shadow, "QUEUE_MAX", 2)

    async def run() -> None:
        rig = Rig()
        await rig.open()
        one = revision("old", replicas_min=1, replicas_max=1)
        await rig.platform.deploy(endpoint(variant("main", one), shadows=(variant("dim", SHADOW),)))
        await rig.ask()
        assert taps(rig).uncopied == (("callers wait", 1),)
        rig.engine.start_s = 60.0
        await asyncio.gather(*(rig.ask() for _ in range(3)))
        assert dict(taps(rig).uncopied)["callers wait"] == 3
        for _ in range(4):
            await rig.ask()
        assert dict(taps(rig).uncopied)["copies wait"] >= 2
        await rig.ask(body=b"x" * (shadow.COPY_BYTES_MAX + 1))
        rig.platform.submit(rig.invocation(stream=whole(b"x")), _Quiet())
        assert dict(taps(rig).uncopied)["long body"] == 2
        await rig.close()

    asyncio.run(run())


def test_a_shadow_takes_no_room_that_others_want() -> None:
    """On one device it runs while nobody else wants it, and goes first."""

    async def run() -> None:
        rig = Rig("T4")
        await rig.open()
        main = revision("old", gpu="T4", replicas_min=1, replicas_max=1)
        dim = revision("dim", gpu="T4", replicas_min=1, replicas_max=1)
        await rig.platform.deploy(endpoint(variant("main", main), shadows=(variant("dim", dim),)))
        for _ in range(5):
            assert await rig.ask() == "old"
        assert "dim" not in rig.engine.revisions.values()
        advice = rig.platform.controller.driver.advise(next(iter(rig.engine.revisions)))
        assert advice is not None
        assert not advice.is_evictable
        await rig.close()

    asyncio.run(run())


def test_requests_and_replies_are_written_by_the_hour(tmp_path: Path) -> None:
    """SageMaker's lines, under endpoint and variant, at the latest when the server stops."""

    async def run() -> None:
        bucket = Bucket()
        rig = Rig(captures=CaptureService(bucket, spool_in(tmp_path)))
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", PLAIN), capture=RULE))
        for _ in range(3):
            await rig.ask(body=b"4,5")
        await rig.close()
        ((url, body),) = bucket.objects.items()
        hour = datetime.now(UTC).strftime("%Y/%m/%d/")
        assert url.startswith(f"s3://captured/prefix/chat/main/{hour}")
        assert url.endswith(".jsonl")
        assert body.count(b"\n") == 3
        (first, *_) = bucket.lines()
        assert first["captureData"] == {
            "endpointInput": {
                "observedContentType": "text/csv",
                "mode": "INPUT",
                "data": "4,5",
                "encoding": "CSV",
            },
            "endpointOutput": {
                "observedContentType": "text/csv",
                "mode": "OUTPUT",
                "data": "old",
                "encoding": "CSV",
            },
        }
        assert first["eventVersion"] == "0"
        assert set(first["eventMetadata"]) == {"eventId", "inferenceTime"}

    asyncio.run(run())


def test_a_part_is_sampled_and_one_side_alone_in_base_64(tmp_path: Path) -> None:
    """Types that nobody named are not text."""

    async def run() -> None:
        bucket = Bucket()
        rig = Rig(captures=CaptureService(bucket, spool_in(tmp_path), flush_s=0.02))
        await rig.open()
        rule = CaptureRule(
            percent=20, destination="s3://captured", has_input=False, has_output=True
        )
        await rig.platform.deploy(endpoint(variant("main", PLAIN), capture=rule))
        for _ in range(10):
            await rig.ask()
        await rig.until(lambda: taps(rig).captured == 2)
        assert [one["captureData"] for one in bucket.lines()] == [
            {
                "endpointOutput": {
                    "observedContentType": "text/csv",
                    "mode": "OUTPUT",
                    "data": base64.b64encode(b"old").decode(),
                    "encoding": "BASE64",
                }
            }
        ] * 2
        await rig.close()

    asyncio.run(run())


def test_a_store_that_does_not_keep_up_loses_lines_and_no_caller_waits(tmp_path: Path) -> None:
    """What is held is bounded; what is lost is counted."""

    async def run() -> None:
        bucket = Bucket()
        bucket.is_open.clear()
        spool = spool_in(tmp_path)
        rig = Rig(captures=CaptureService(bucket, spool, flush_s=0.01, held_bytes_max=6_000))
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", PLAIN), capture=RULE))
        for _ in range(30):
            assert await rig.ask() == "old"
        lost = dict(taps(rig).uncaptured)["store is slow"]
        assert 15 <= lost < 30
        await rig.ask(body=b"x" * (SIDE_BYTES_MAX + 1))
        assert dict(taps(rig).uncaptured)["long body"] == 1
        bucket.is_open.set()
        await rig.until(lambda: taps(rig).captured == 30 - lost)
        await rig.close()

    asyncio.run(run())


def test_a_store_that_refuses_three_times_loses_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted, and leave the disk."""
    monkeypatch.setattr(capture, "_RETRY_S", 0.01)

    async def run() -> None:
        bucket = Bucket()
        bucket.is_shut = True
        rig = Rig(captures=CaptureService(bucket, spool_in(tmp_path), flush_s=0.01))
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", PLAIN), capture=RULE))
        await rig.ask()
        await rig.until(lambda: dict(taps(rig).uncaptured) == {"store refuses": 1})
        await rig.until(lambda: list(tmp_path.iterdir()) == [])
        await rig.close()

    asyncio.run(run())


def test_what_a_store_does_not_take_before_the_end_is_sent_by_the_next_start(
    tmp_path: Path,
) -> None:
    """Also what another router left, and without a line that was cut off; none comes twice."""

    async def run(bucket: Bucket, asked: int) -> None:
        spool = spool_in(tmp_path / "0", adopts_from=tmp_path)
        rig = Rig(captures=CaptureService(bucket, spool))
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", PLAIN), capture=RULE))
        for _ in range(asked):
            await rig.ask()
        await rig.close()

    bucket = Bucket()
    bucket.is_shut = True
    asyncio.run(run(bucket, 3))
    assert bucket.objects == {}
    (left,) = (tmp_path / "0").iterdir()
    (tmp_path / "1").mkdir()
    moved = left.rename(tmp_path / "1" / left.name)
    (tmp_path / "1" / "cut.jsonl").write_bytes(b"s3://capt")
    with moved.open("ab") as file:
        file.write(b'{"captureData":{"endpo')
    as_left = moved.read_bytes()

    bucket.is_shut = False
    asyncio.run(run(bucket, 0))
    assert len(bucket.lines()) == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    # A server that is killed after it has sent a file finds it again.
    moved.write_bytes(as_left)
    before = dict(bucket.objects)
    asyncio.run(run(bucket, 0))
    assert bucket.objects == before


def test_a_disk_that_refuses_loses_lines_and_no_caller_waits(tmp_path: Path) -> None:
    """They are counted; what was whole stays whole."""

    async def run() -> None:
        bucket = Bucket()
        rig = Rig(captures=CaptureService(bucket, spool_in(tmp_path / "0"), flush_s=0.02))
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", PLAIN), capture=RULE))
        (tmp_path / "0").rmdir()
        assert await rig.ask() == "old"
        await rig.until(lambda: dict(taps(rig).uncaptured) == {"disk refuses": 1})
        (tmp_path / "0").mkdir()
        await rig.ask()
        await rig.until(lambda: taps(rig).captured == 1)
        assert len(bucket.lines()) == 1
        await rig.close()

    asyncio.run(run())


def test_a_capture_without_a_store_is_refused() -> None:
    """It would be looked for in a month."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        with pytest.raises(InvalidRequest, match="no object storage"):
            await rig.platform.deploy(endpoint(variant("main", PLAIN), capture=RULE))
        await rig.close()

    asyncio.run(run())


class _Quiet:
    """A caller who does not listen."""

    def reply(self, *_: object) -> None: ...

    def begin(self, *_: object) -> None: ...

    def write(self, *_: object) -> None: ...

    def end(self, *_: object) -> None: ...

    def fail(self, *_: object) -> None: ...
