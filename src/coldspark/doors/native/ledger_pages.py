"""Read a stretch of the ledger page by page, newest first, up to a bound that the reader is told.

Sorting and percentiles look at every line of the stretch; the bound keeps a busy month from
filling the memory of a server that has other things to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from coldspark.billing.usage import Usage
from coldspark.doors.ports import Usages
from coldspark.errors import InvalidRequest
from coldspark.spec.types import EndpointName
from coldspark.spec.waterfall import STAGES

PAGE_LINES = 5_000
LINES_MAX = 50_000
NEWEST, DURATION = "newest", "duration"
ORDERS = (NEWEST, DURATION, *(stage.removesuffix("_us") for stage in STAGES))
"""What lines can be sorted by: time of arrival, or how long they or one of their stages took."""


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Lines of the ledger, newest first."""

    lines: Sequence[Usage]
    is_complete: bool
    """False: older lines of the stretch were not looked at."""


async def read_page(
    usages: Usages,
    endpoint: EndpointName | None,
    since_ms: int | None,
    until_ms: int | None = None,
    lines_max: int = LINES_MAX,
    page_lines: int = PAGE_LINES,
) -> LedgerPage:
    """Return the newest ``lines_max`` lines since a moment, and before another."""
    found: dict[str, Usage] = {}
    while len(found) < lines_max:
        page = await usages.usages(endpoint, since_ms=since_ms, until_ms=until_ms, limit=page_lines)
        before = len(found)
        found |= {line.request: line for line in page}
        # A page that only repeats itself: more lines of one millisecond than a page holds.
        if len(page) < page_lines or len(found) == before:
            return LedgerPage(list(found.values())[:lines_max], len(page) < page_lines)
        # The last millisecond may go on in the next page; what comes twice is one.
        until_ms = page[-1].arrived_ms + 1
    return LedgerPage(list(found.values())[:lines_max], is_complete=False)


def check_order(order: str) -> str:
    """Return it. Raises InvalidRequest for one that is none."""
    if order not in ORDERS:
        raise InvalidRequest(
            f"sort={order[:40]!r} must be one of {', '.join(ORDERS)}", field="sort"
        )
    return order


def sort_lines(lines: Sequence[Usage], order: str) -> list[Usage]:
    """Return lines sorted, the longest (or newest) first."""
    if order == NEWEST:
        return list(lines)
    if order == DURATION:
        return sorted(lines, key=lambda line: line.waterfall.total_us, reverse=True)
    return sorted(lines, key=attrgetter(f"waterfall.{order}_us"), reverse=True)
