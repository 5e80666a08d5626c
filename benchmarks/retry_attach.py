"""What it costs to let an SDK's next attempt take a request over, when none comes.

    python -m benchmarks.retry_attach [rounds]

The router's own work for one warm InvokeEndpoint, as ``whole_path`` measures it. ``plain`` has two
headers of the same length under other names, so that what is read and remembered is the same.
Rounds alternate. Prints microseconds of CPU for a request: the median and the best.
"""

import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.whole_path import BODY, Bench
from coldspark.doors.aws.sagemaker.runtime.door import SageMakerDoor

ROUNDS = 15
KINDS = {
    "plain": ("abc-sdk-invocation-id", "abc-sdk-request"),
    "retried": ("amz-sdk-invocation-id", "amz-sdk-request"),
}


def requests(kind: str) -> Iterator[bytes]:
    """Yield requests as botocore sends them: each with an id of its own."""
    id, attempt = KINDS[kind]
    for number in itertools.count():
        head = (
            "POST /endpoints/e/invocations HTTP/1.1\r\nHost: 127.0.0.1:7117\r\n"
            f"content-type: application/json\r\n{id}: 6e1f7a0c-0000-4000-8000-{number:012d}\r\n"
            f"{attempt}: attempt=1; max=3\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        yield head.encode() + BODY


async def measure(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Time both kinds, turn about."""
    benches = {}
    for kind in KINDS:
        (folder / kind).mkdir()
        benches[kind] = Bench(folder / kind, "channel", requests(kind), SageMakerDoor())
        await benches[kind].play()
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, bench in benches.items():
            found[kind].append(await bench.play())
    return found


def main() -> None:
    """Print both kinds and the difference."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(measure(rounds, Path(folder)))
    for kind, runs in found.items():
        print(f"{kind:10} median {statistics.median(runs):6.2f} us  min {min(runs):6.2f} us")
    more = statistics.median(b - a for a, b in zip(*found.values(), strict=True))
    print(f"{'more':10} median {more:6.2f} us")


if __name__ == "__main__":
    main()
