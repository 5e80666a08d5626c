"""Serve a function with LitServe: ``litserve_server PORT``; ``PEER_WORKER`` names it."""

# mypy: disable-error-code="import-not-found,misc"
import os
import sys
from typing import Any

from litserve import LitAPI, LitServer

from benchmarks.peers.workers.functions import BATCH_MAX, BATCH_WAIT_S, is_batched, load

NAME = os.environ["PEER_WORKER"]


class Served(LitAPI):
    """One worker process."""

    def setup(self, device: str) -> None:
        """Load the function."""
        self._work = load(NAME)

    def predict(self, x: Any) -> Any:
        """Compute one request, or a batch of them."""
        return self._work(x) if is_batched(NAME) else self._work([x])[0]


if __name__ == "__main__":
    batching = {"max_batch_size": BATCH_MAX, "batch_timeout": BATCH_WAIT_S}
    api = Served(**batching) if is_batched(NAME) else Served()
    server = LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
