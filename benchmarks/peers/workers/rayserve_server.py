"""Serve a function with Ray Serve: ``rayserve_server PORT MODE``; ``PEER_WORKER`` names it.

Modes: ``warm`` keeps one replica; ``default`` and ``tuned`` have ``min_replicas`` 0. These two take
a line from standard input each time they shall be at zero, and answer with a line when they are.
The application is deployed anew for it: so the way down costs no waiting, and nothing but the way
up is measured.
"""

# mypy: disable-error-code="import-not-found,untyped-decorator"
import asyncio
import os
import signal
import sys
import tempfile
import time
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.workers.functions import BATCH_MAX, BATCH_WAIT_S, is_batched, load

NAME = os.environ["PEER_WORKER"]
_APP = "peer"


class Served:
    """One replica."""

    def __init__(self) -> None:
        self._work = load(NAME)

    @serve.batch(max_batch_size=BATCH_MAX, batch_wait_timeout_s=BATCH_WAIT_S)
    async def batch(self, items: list[Any]) -> list[Any]:
        """Compute a batch beside the loop, which takes requests meanwhile."""
        return await asyncio.to_thread(self._work, items)

    async def __call__(self, request: Request) -> Any:
        """Answer one request."""
        item = await request.json()
        return await self.batch(item) if is_batched(NAME) else self._work([item])[0]


def deploy(mode: str) -> None:
    """Run the application, at one replica or at zero."""
    scaling: dict[str, Any] = {"num_replicas": 1}
    if mode != "warm":
        zero = {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1}
        tuned = {"upscale_delay_s": 0} if mode == "tuned" else {}
        scaling = {"autoscaling_config": zero | tuned}
    served = serve.deployment(max_ongoing_requests=128, **scaling)(Served)
    serve.run(served.bind(), name=_APP, route_prefix="/")


def replicas() -> int:
    """Return how many replicas are in any state."""
    applications = serve.status().applications
    if _APP not in applications:
        return 0
    deployments = applications[_APP].deployments.values()
    return sum(sum(one.replica_states.values()) for one in deployments)


def until_settled() -> None:
    """Wait until the application says that it runs, without a replica."""
    while serve.status().applications[_APP].status != "RUNNING" or replicas():
        time.sleep(0.05)
    # The proxy hears of the route by a long poll of its own.
    time.sleep(1.0)


def obey(mode: str) -> None:
    """Go to zero whenever a line comes."""
    for _ in sys.stdin:
        serve.delete(_APP)
        deploy(mode)
        until_settled()
        print("at zero", flush=True)


def main(port: int, mode: str) -> None:
    """Start a Ray of its own, and serve until the end."""
    ray.init(num_cpus=2, _temp_dir=tempfile.gettempdir(), log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    deploy(mode)
    if mode == "warm":
        signal.pause()
    obey(mode)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
