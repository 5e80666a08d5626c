"""Bills: the ledger's totals, priced by a book."""

from collections.abc import Callable
from typing import Protocol

from coldspark.billing import prices
from coldspark.billing.bill import Bill
from coldspark.billing.pricing import price
from coldspark.billing.usage import IdleUsageState, LedgerTotals
from coldspark.errors import InvalidRequest
from coldspark.spec.types import EndpointName


class TotalsSource(Protocol):
    """The ledger, added up."""

    async def totals(
        self,
        endpoint: EndpointName | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> LedgerTotals:
        """Return the totals of an interval."""


class BillingService:
    """Prices this machine's ledger."""

    def __init__(
        self,
        ledger: TotalsSource,
        settle: Callable[[], None],
        assumption: str | None,
        gpu_names: Callable[[str], str | None],
    ) -> None:
        """Take the ledger; ``assumption`` says how the machine's cost was made up, if it was."""
        self._ledger = ledger
        self._settle = settle
        self._assumption = assumption
        self._gpu_names = gpu_names

    async def bill(
        self,
        endpoint: EndpointName | None,
        book_name: str,
        since_ms: int | None,
        until_ms: int | None,
        as_gpu: str | None,
        memory_bytes: int | None = None,
    ) -> Bill:
        """Price an interval of the ledger. Raises NotFound for an unknown book."""
        book = prices.load(book_name)
        self._settle()
        whole = await self._ledger.totals(None, since_ms, until_ms)
        totals = await self._ledger.totals(endpoint, since_ms, until_ms) if endpoint else whole
        # Lines of overhead cover every moment that the server ran, once.
        wall_ms = sum(
            row.duration_ms for row in whole.idle_usages if row.state is IdleUsageState.OVERHEAD
        )
        assumptions = (self._assumption,) if self._assumption else ()
        gpu = self._type_of(as_gpu) if as_gpu else "A10G"
        return price(
            book,
            totals,
            wall_ms=wall_ms,
            as_gpu=gpu,
            memory_bytes=memory_bytes,
            assumptions=assumptions,
        )

    def _type_of(self, text: str) -> str:
        name = self._gpu_names(text)
        if name is None:
            raise InvalidRequest(
                f"as_gpu={text!r} is no GPU type: try T4, A10G or A100", field="as_gpu"
            )
        return name
