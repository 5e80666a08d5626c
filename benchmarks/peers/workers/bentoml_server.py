"""Serve a function with BentoML: ``bentoml serve ...:Served``; ``PEER_WORKER`` names it.

A batchable API takes lists from its callers, and joins the lists of many callers into one.
"""

# mypy: disable-error-code="import-not-found,untyped-decorator"
import os
from typing import Any

import bentoml

from benchmarks.peers.workers.functions import BATCH_MAX, is_batched, load

NAME = os.environ["PEER_WORKER"]


class Single:
    """One request a call."""

    def __init__(self) -> None:
        self._work = load(NAME)

    @bentoml.api(route="/predict")
    def predict(self, item: dict[str, Any], /) -> dict[str, Any]:
        """Compute one request."""
        answer: dict[str, Any] = self._work([item])[0]
        return answer


class Batched:
    """Many requests a call."""

    def __init__(self) -> None:
        self._work = load(NAME)

    @bentoml.api(route="/predict", batchable=True, max_batch_size=BATCH_MAX)
    def predict(self, items: list[dict[str, Any]], /) -> list[dict[str, Any]]:
        """Compute a batch."""
        return self._work(items)


Served = bentoml.service(workers=1)(Batched if is_batched(NAME) else Single)
