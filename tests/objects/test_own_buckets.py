"""Own buckets: any key, in order; whole or absent; models from them cost no further byte."""

import asyncio
import io
import itertools
import resource
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from example_counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coldspark.database.database import Database
from coldspark.errors import ArtifactUnavailable, StorageFull
from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.multipart_uploads import Uploads
from coldspark.objects.records import ALWAYS, Description, LocalObject, NoSuchKey, NoSuchUpload

T = TypeVar("T")

DAY_MS = 24 * 3_600_000


def played(
    root: Path,
    play: Callable[[LocalBuckets], Coroutine[object, object, T]],
    wall_ms: Callable[[], int] | None = None,
) -> T:
    """Play with buckets on a data directory."""

    async def run() -> T:
        database = Database.open(root / "coldspark.db")
        ticks = itertools.count(1_000)
        own = LocalBuckets(database, root / "buckets", wall_ms or (lambda: next(ticks)))
        try:
            await own.open()
            await own.create_bucket("models")
            return await play(own)
        finally:
            database.close()

    return asyncio.run(run())


async def once(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body."""
    yield body


async def put(own: LocalBuckets, key: str, body: bytes) -> LocalObject:
    """Store an object."""
    draft = own.files.draft()
    try:
        await own.receive(draft, once(body), len(body))
        return await own.put("models", key, draft, Description())
    finally:
        draft.discard()


async def put_parts(own: LocalBuckets, key: str, *bodies: bytes) -> LocalObject:
    """Store an object that comes in parts."""
    uploads = Uploads(own)
    upload = await uploads.begin("models", key, Description())
    for number, body in enumerate(bodies, 1):
        draft = own.files.draft()
        await own.receive(draft, once(body), len(body))
        await uploads.put(upload, number, draft, draft.md5.hex(), None)
    parts = await uploads.parts(upload)
    return await uploads.complete(upload, parts, f"x-{len(parts)}", Description(), ALWAYS)


async def read(own: LocalBuckets, key: str) -> bytes:
    """Return an object's bytes."""
    async with own.open_reader("models", key) as reading:
        blocks = reading.blocks(0, reading.object.size_bytes)
        return b"".join([block async for block in blocks])


def files(root: Path) -> list[Path]:
    """Return all files of bytes."""
    return [path for path in (root / "buckets").rglob("*") if path.is_file()]


KEYS = st.one_of(
    st.text(
        st.sampled_from("aB./\\%+ \x00\x7fé\ud7ff\ue000\uffff\U00010000\U0010ffff"), min_size=1
    ),
    st.sampled_from(["..", ".", "/", "//", "a//b", "a/", "a/../b", "CON", "x" * 1_024]),
).filter(lambda key: len(key.encode()) <= 1_024)


@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_key_comes_back_and_lists_are_in_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Against a sorted dict: put, delete, and lists by prefix, delimiter and page."""
    steps = data.draw(st.lists(st.tuples(st.booleans(), KEYS), min_size=1, max_size=25))
    prefix = data.draw(st.sampled_from(["", "a", "a/", ".", "/", "\U0010ffff"]))
    delimiter = data.draw(st.sampled_from(["", "/", "a", "//"]))
    limit = data.draw(st.integers(1, 5))

    async def play(own: LocalBuckets) -> None:
        model: dict[str, bytes] = {}
        for is_put, key in steps:
            if is_put:
                model[key] = key.encode()
                await put(own, key, key.encode())
            else:
                model.pop(key, None)
                await own.delete("models", key)
        for key, body in model.items():
            assert await read(own, key) == body
        expected: dict[str, None] = {}
        for key in sorted(model, key=str.encode):
            if key.startswith(prefix):
                end = key.find(delimiter, len(prefix)) if delimiter else -1
                expected[key if end < 0 else key[: end + len(delimiter)]] = None
        listed: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await own.page(
                "models", prefix=prefix, after=after, delimiter=delimiter, limit=limit
            )
            names = [*(one.key for one in page.objects), *page.prefixes]
            assert len(names) <= limit
            listed += sorted(names, key=str.encode)
            after = page.next_after
        assert listed == list(expected)

    root = tmp_path_factory.mktemp("keys")
    played(root, play)
    assert len(files(root)) == len({key for _, key in steps} & set(_left(steps)))


def _left(steps: list[tuple[bool, str]]) -> Iterator[str]:
    last = {key: is_put for is_put, key in steps}
    return (key for key, is_put in last.items() if is_put)


KILLED = """
import asyncio, sys
from pathlib import Path
from coldspark.database.database import Database
from coldspark.objects.records import Description
from coldspark.objects.local_buckets import LocalBuckets

root = Path(sys.argv[1])

async def body():
    yield b"new" * 1_000_000
    print("half", flush=True)
    await asyncio.Event().wait()

async def main():
    own = LocalBuckets(Database.open(root / "coldspark.db"), root / "buckets", lambda: 1)
    await own.open()
    kept = own.files.draft()
    await own.receive(kept, aiter_of(b"orphan"), 99)
    own.files.commit(kept)
    draft = own.files.draft()
    await own.receive(draft, body(), 10_000_000)
    await own.put("models", "key", draft, Description(content_type="new"))

async def aiter_of(block):
    yield block

asyncio.run(main())
"""


@pytest.mark.process
def test_a_server_that_is_killed_during_a_put_leaves_the_old_object(tmp_path: Path) -> None:
    """And neither half a body nor a whole one that no row speaks of."""
    played(tmp_path, lambda own: put(own, "key", b"old"))
    server = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "half\n"
    server.kill()
    server.wait()
    assert len(files(tmp_path)) == 3

    async def play(own: LocalBuckets) -> None:
        assert (await own.find("models", "key")).description.content_type is None
        assert await read(own, "key") == b"old"

    played(tmp_path, play)
    assert len(files(tmp_path)) == 1


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """The object that was there stays."""

    async def play(own: LocalBuckets) -> None:
        await put(own, "key", b"old")
        with file_size_limit(2_000_000), pytest.raises(StorageFull, match="free disk space"):
            await put(own, "key", b"x" * 3_000_000)
        assert await read(own, "key") == b"old"
        assert len(files(tmp_path)) == 1

    played(tmp_path, play)


def test_objects_leave_room_for_the_ledger(tmp_path: Path) -> None:
    """A disk without any would end the requests as well."""

    async def play(own: LocalBuckets) -> None:
        scarce = LocalBuckets(own.database, tmp_path / "buckets", own.wall_ms, reserve_bytes=2**62)
        with pytest.raises(StorageFull, match="free disk space"):
            await put(scarce, "key", b"x")

    played(tmp_path, play)
    assert files(tmp_path) == []


def test_uploads_that_nobody_touches_are_ended(tmp_path: Path) -> None:
    """Their parts go; one that still grows stays."""
    now_ms = 0

    async def play(own: LocalBuckets) -> None:
        nonlocal now_ms
        uploads = Uploads(own)
        left = await uploads.begin("models", "left", Description())
        grows = await uploads.begin("models", "grows", Description())
        for at_ms, upload in ((0, left), (0, grows), (6 * DAY_MS, grows)):
            now_ms = at_ms
            draft = own.files.draft()
            await own.receive(draft, once(b"part"), 9)
            await uploads.put(upload, 1, draft, "etag", None)
        now_ms = 8 * DAY_MS
        assert await uploads.sweep(7 * DAY_MS) == 1
        with pytest.raises(NoSuchUpload):
            await uploads.find("models", "left", left.id)
        assert await uploads.find("models", "grows", grows.id)
        assert len(files(tmp_path)) == 1

    played(tmp_path, play, lambda: now_ms)


def test_a_model_in_an_own_bucket_takes_no_further_byte(tmp_path: Path) -> None:
    """Its directory holds links, and keeps what it holds when the bucket lets it go."""

    async def play(own: LocalBuckets) -> None:
        await put(own, "llm/config.json", b"{}")
        await put_parts(own, "llm/deep/weights", b"a" * 1_000, b"b" * 1_000, b"c")
        artifacts = ArtifactDirectory(tmp_path / "artifacts", own=own)
        model = await artifacts.fetch("s3://models/llm/")
        assert (model / "config.json").read_bytes() == b"{}"
        weights = model / "deep" / "weights"
        assert weights.read_bytes() == b"a" * 1_000 + b"b" * 1_000 + b"c"
        assert weights.stat().st_mode & 0o777 == 0o444
        # The parts were joined: one file has both names.
        assert {path.stat().st_ino for path in files(tmp_path)} == {
            weights.stat().st_ino,
            (model / "config.json").stat().st_ino,
        }
        assert await read(own, "llm/deep/weights") == weights.read_bytes()
        assert await artifacts.fetch("s3://models/llm/") == model
        await put(own, "llm/config.json", b"[]")
        other = await artifacts.fetch("s3://models/llm/")
        assert (other / "config.json").read_bytes() == b"[]"
        assert (model / "config.json").read_bytes() == b"{}"
        with pytest.raises(ArtifactUnavailable, match="s3://models/absent"):
            await artifacts.fetch("s3://models/absent")

    played(tmp_path, play)


def test_a_linked_model_counts_once_its_object_is_gone(tmp_path: Path) -> None:
    """Until then to evict it would free nothing."""

    async def play(own: LocalBuckets) -> None:
        await put(own, "llm/weights", b"a" * 1_000_000)
        artifacts = ArtifactDirectory(tmp_path / "artifacts", own=own)
        model = await artifacts.fetch("s3://models/llm/")
        assert await artifacts.evict([], 0) == []
        await own.delete("models", "llm/weights")
        assert await artifacts.evict([], 0) == [model]

    played(tmp_path, play)


def test_an_archive_in_an_own_bucket_is_unpacked(tmp_path: Path) -> None:
    """As ModelDataUrl names one; the bucket keeps the only packed copy."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("model"), io.BytesIO())

    async def play(own: LocalBuckets) -> int:
        stored = await put(own, "model.tar.gz", packed.getvalue())
        artifacts = ArtifactDirectory(tmp_path / "artifacts", own=own)
        model = await artifacts.fetch("s3://models/model.tar.gz")
        assert [path.name for path in model.iterdir()] == ["model"]
        return stored.size_bytes

    packed_bytes = played(tmp_path, play)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert sizes.count(packed_bytes) == 1


def test_parts_are_joined_under_a_reader(tmp_path: Path) -> None:
    """Who reads the parts reads them to their end."""

    async def play(own: LocalBuckets) -> None:
        stored = await put_parts(own, "key", b"a" * 10, b"b" * 10)
        async with own.open_reader("models", "key") as reading:
            blocks = reading.blocks(0, 20)
            first = await anext(blocks)
            await own.link_to(stored, tmp_path / "placed")
            assert first + b"".join([block async for block in blocks]) == b"a" * 10 + b"b" * 10
        assert (tmp_path / "placed").read_bytes() == b"a" * 10 + b"b" * 10
        assert len(files(tmp_path)) == 1
        await own.delete("models", "key")
        assert files(tmp_path) == []
        with pytest.raises(NoSuchKey):
            await own.link_to(stored, tmp_path / "again")

    played(tmp_path, play)


def test_what_a_guest_replaces_stays_until_the_owners_readers_end(tmp_path: Path) -> None:
    """Another process cannot know who reads: it says so, and removes nothing itself."""

    async def play(own: LocalBuckets) -> None:
        fallen: list[str] = []
        guest = LocalBuckets(
            own.database, tmp_path / "buckets", own.wall_ms, on_fallen=fallen.append
        )
        old = await put(own, "key", b"a" * 10)
        async with own.open_reader("models", "key") as reading:
            await put(guest, "key", b"b" * 10)
            assert fallen == [old.body]
            await own.drop_body(old.body)
            assert b"".join([block async for block in reading.blocks(0, 10)]) == b"a" * 10
            assert len(files(tmp_path)) == 2
        assert await read(guest, "key") == b"b" * 10
        assert len(files(tmp_path)) == 1

    played(tmp_path, play)
