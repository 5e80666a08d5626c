"""Serve a function with mosec; ``PEER_WORKER`` names it, mosec reads its own flags."""

# mypy: disable-error-code="import-not-found,misc"
import os
from typing import Any

from mosec import Server, Worker

from benchmarks.peers.workers.functions import BATCH_MAX, BATCH_WAIT_S, is_batched, load

NAME = os.environ["PEER_WORKER"]


class Served(Worker):
    """One worker process."""

    def __init__(self) -> None:
        super().__init__()
        self._work = load(NAME)

    def forward(self, data: Any) -> Any:
        """Compute one request, or a batch of them."""
        return self._work(data) if is_batched(NAME) else self._work([data])[0]


if __name__ == "__main__":
    server = Server()
    if is_batched(NAME):
        wait_ms = int(BATCH_WAIT_S * 1000)
        server.append_worker(Served, num=1, max_batch_size=BATCH_MAX, max_wait_time=wait_ms)
    else:
        server.append_worker(Served, num=1)
    server.run()
