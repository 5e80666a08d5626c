"""The budget of failed starts: back-off, then a pause in which the endpoint says FAILED."""

from coldspark.spec.types import Failure

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
FAILED_PAUSE_S = 60.0
"""An endpoint that FAILED tries one more start for a request that comes after this long."""


class StartBudget:
    """Failed starts in a row, and when the next may be tried.

    After the n-th failure the next start waits ``min(30, 0.5 * 2**(n-1))`` seconds, and is a single
    one: a crash loop costs one replica at a time. Worked number: 0.5, 1, 2 s after three failures.
    """

    def __init__(self) -> None:
        self.failed = 0
        self.retry_s = 0.0
        self.failure: Failure | None = None
        """Why the budget is spent; None while starts are tried."""

    def retry_in_s(self, now: float) -> float:
        """Return how long no start is tried, 0 when one may be."""
        return max(0.0, self.retry_s - now)

    def allowed(self, starts: int, now: float) -> int:
        """Return how many of ``starts`` may be tried now."""
        if not self.failed:
            return starts
        return min(1, starts) if now >= self.retry_s else 0

    def record_failure(self, now: float) -> None:
        """Count a failed start and back off."""
        self.failed += 1
        backoff_s = BACKOFF_FIRST_S * 2.0 ** min(10, self.failed - 1)
        self.retry_s = now + min(BACKOFF_MAX_S, backoff_s)

    def exhaust(self, failure: Failure, now: float) -> None:
        """Spend the budget: no start for a while."""
        self.failure = failure
        self.retry_s = now + FAILED_PAUSE_S

    def reset(self) -> None:
        """Forget the failures: a replica became ready, or another revision is desired."""
        self.failed = 0
        self.failure = None

    def check(self) -> None:
        """Assert that a budget is spent only by failures."""
        assert self.failed >= 0
        assert self.failure is None or self.failed > 0
