"""Measure how model data comes here: ``python -m benchmarks.weights_pull``.

A server in another process speaks as much S3 as a download needs, from the page cache. It answers
as fast as loopback goes, then with a limit per connection, as object stores have. Each download
runs in a process of its own, whose processor time and peak memory are counted. Every number of
concurrent ranges is compared with one stream, as it was before ranges.
"""

import asyncio
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from benchmarks.report import Report
from coldspark.objects.artifacts import ArtifactDirectory

OBJECT_BYTES = 512 * 1024**2
ROUNDS = 5
RANGES = (1, 4, 8, 16)
LIMITED_BYTES_PER_S = 80 * 1024**2
"""What one connection to a large object store is commonly given."""
_BLOCK = 1024**2
_STREAM_BYTES = 8 * 1024**2
_URL = "s3://models/weights.bin"


def measure(report: Report) -> None:
    """Download, by speed of the server and number of ranges; then look at the page cache."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        file = Path(folder) / "object"
        _fill(file)
        for name, limit in (("loopback", 0), ("80 MiB/s each", LIMITED_BYTES_PER_S)):
            with _serving(file, limit) as port:
                for ranges in (0, *RANGES):
                    _downloads(report, name, port, ranges, Path(folder))
        _sharing(report, file, Path(folder))


def _downloads(report: Report, name: str, port: int, ranges: int, folder: Path) -> None:
    rounds = [_download(port, ranges, folder) for _ in range(ROUNDS)]
    what = f"{name}, {f'{ranges} ranges' if ranges else 'one stream, not hashed'}"
    report.add(what, "MB/s", [OBJECT_BYTES / 1e6 / one["wall_s"] for one in rounds])
    report.add("    processor", "s", [one["cpu_s"] for one in rounds])
    report.add("    memory at most", "MB", [one["peak_bytes"] / 1e6 for one in rounds])


def _download(port: int, ranges: int, folder: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as root:
        argv = [sys.executable, "-m", "benchmarks.weights_pull", "pull", root, str(port)]
        done = subprocess.run([*argv, str(ranges)], check=True, stdout=subprocess.PIPE)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _pull(root: Path, port: int, ranges: int) -> None:
    """Download once, in this process, and print what it took."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    if ranges:
        artifacts = ArtifactDirectory(root, s3_options=_options(port), ranges_at_once=ranges)
        asyncio.run(artifacts.fetch(_URL))
    else:
        asyncio.run(_one_stream(root / "weights.bin", port))
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall_s": wall_s, "cpu_s": used, "peak_bytes": after.ru_maxrss * 1024}))


async def _one_stream(into: Path, port: int) -> None:
    store: Any = S3Store("models", config=_options(port))  # type: ignore[arg-type]
    got = await obstore.get_async(store, "weights.bin")
    with into.open("wb", buffering=0) as file:
        async for block in got.stream(min_chunk_size=_STREAM_BYTES):
            await asyncio.to_thread(file.write, memoryview(block))


def _options(port: int) -> dict[str, str]:
    keys = {"access_key_id": "any", "secret_access_key": "any", "region": "us-east-1"}
    return {"endpoint": f"http://127.0.0.1:{port}", "allow_http": "true", **keys}


def _fill(file: Path) -> None:
    with file.open("wb") as opened:
        for _ in range(OBJECT_BYTES // _BLOCK):
            opened.write(os.urandom(_BLOCK))


@contextmanager
def _serving(file: Path, bytes_per_s: int) -> Iterator[int]:
    argv = [sys.executable, "-m", "benchmarks.weights_pull", "serve", str(file), str(bytes_per_s)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def _serve(file: Path, bytes_per_s: int) -> None:
    """Answer HEAD and GET with ranges of one file, as S3 does, until killed."""
    handler = type("Handler", (_Handler,), {"file": file, "bytes_per_s": bytes_per_s})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(server.server_port, flush=True)
    server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file: Path
    bytes_per_s: int

    def do_HEAD(self) -> None:
        self._head(200, 0, OBJECT_BYTES)

    def do_GET(self) -> None:
        start, end = 0, OBJECT_BYTES
        asked = self.headers.get("Range")
        if asked is not None:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) + 1
        self._head(200 if asked is None else 206, start, end)
        self._body(start, end)

    def _head(self, status: int, start: int, end: int) -> None:
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{OBJECT_BYTES}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", '"of-the-benchmark"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()

    def _body(self, start: int, end: int) -> None:
        self.wfile.flush()
        began, at = time.monotonic(), start
        with self.file.open("rb") as opened:
            while at < end:
                at += os.sendfile(
                    self.connection.fileno(), opened.fileno(), at, min(_BLOCK, end - at)
                )
                if self.bytes_per_s:
                    due = began + (at - start) / self.bytes_per_s
                    time.sleep(max(0.0, due - time.monotonic()))

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _sharing(report: Report, file: Path, folder: Path) -> None:
    """Map one file from two model directories: shared as blobs, and as the copies they were."""
    with _serving(file, 0) as port:
        shared = [_fetched(folder / "data", port, url) for url in (_URL, "s3://others/weights.bin")]
        apart = [_fetched(folder / f"data-{n}", port, _URL) for n in range(2)]
    for name, paths in (("shared", shared), ("apart", apart)):
        for path in paths:
            _evict(path)
        before = _cached_bytes(paths)
        first, second = (_touch_ms(path) for path in paths)
        cached = _cached_bytes(paths) - before
        report.add(f"two directories, {name}: in the page cache", "MB", [cached / 1e6])
        report.add("    on the disk", "MB", [_disk_bytes(paths) / 1e6])
        report.add("    first to touch every page", "ms", [first])
        report.add("    second to touch every page", "ms", [second])


def _fetched(root: Path, port: int, url: str) -> Path:
    artifacts = ArtifactDirectory(root, s3_options=_options(port))
    return asyncio.run(artifacts.fetch(url)) / "weights.bin"


def _evict(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _touch_ms(path: Path) -> float:
    start = time.perf_counter()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        mapped.madvise(mmap.MADV_WILLNEED)
        sum(mapped[:: mmap.PAGESIZE])
    return (time.perf_counter() - start) * 1e3


def _cached_bytes(paths: list[Path]) -> int:
    """Return how much of some files is in the page cache, each file once however named."""
    files = {path.stat().st_ino: path for path in paths}
    return sum(_resident_bytes(path) for path in files.values())


def _resident_bytes(path: Path) -> int:
    done = subprocess.run(
        ["fincore", "-b", "-n", "-o", "RES", str(path)], check=True, stdout=subprocess.PIPE
    )
    return int(done.stdout)


def _disk_bytes(paths: list[Path]) -> int:
    states = {path.stat().st_ino: path.stat() for path in paths}
    return sum(state.st_blocks * 512 for state in states.values())


def main(argv: list[str]) -> None:
    """Run all, or the part of it that a child process is."""
    match argv:
        case ["pull", root, port, ranges]:
            _pull(Path(root), int(port), int(ranges))
        case ["serve", file, bytes_per_s]:
            _serve(Path(file), int(bytes_per_s))
        case _:
            report = Report()
            report.begin()
            measure(report)
            report.save(Path(".bench") / "weights_pull.json")


if __name__ == "__main__":
    main(sys.argv[1:])
