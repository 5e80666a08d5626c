"""The charges and shares of all routers of a node, so that its bill is split exactly once.

Each router charges its own replicas for their shares. The primary alone has overhead: the bill less
what it charged itself and less what all others did, so the sum over all is the bill by definition.
While the shares of all exceed the whole node, each gets the others': every replica then pays its
part of the sum, as within one router.
"""

from coldspark.billing.meter import WHOLE_PPM


class RouterUsageTotals:
    """The primary's figures of all routers, itself included. Pure."""

    def __init__(self) -> None:
        self._living: dict[int, int] = {}
        """Nanos charged so far, by boot."""
        self._ended: dict[int, int] = {}
        self._shares_ppm: dict[int, int] = {}
        self._published_ppm: dict[int, int] = {}

    @property
    def nanos(self) -> int:
        """Return what the other routers have charged since the primary began."""
        return sum(self._living.values()) + sum(self._ended.values())

    def record_charged(self, boot: int, nanos: int) -> None:
        """Record a router's charges; of one that has ended, the sum of its lines counts."""
        if boot not in self._ended:
            self._living[boot] = nanos

    def record_ended(self, boot: int, nanos: int) -> None:
        """Record the sum of the lines of a router that is gone."""
        self._living.pop(boot, None)
        self._ended[boot] = nanos

    def set_shares(self, router: int, shares_ppm: int) -> dict[int, int]:
        """Record a router's shares; return, by router, changed shares of all others.

        Worked number: of 700_000 and 500_000 ppm the first gets 500_000, the second 700_000; of
        300_000 and 500_000 nobody gets anything, as both fit.
        """
        self._shares_ppm[router] = shares_ppm
        total_ppm = sum(self._shares_ppm.values())
        changes: dict[int, int] = {}
        for each, own_ppm in self._shares_ppm.items():
            elsewhere_ppm = total_ppm - own_ppm if total_ppm > WHOLE_PPM else 0
            if elsewhere_ppm != self._published_ppm.get(each, 0):
                self._published_ppm[each] = changes[each] = elsewhere_ppm
        return changes

    def remove_router(self, router: int) -> dict[int, int]:
        """Record that a router is gone, with its shares; return changes as ``set_shares`` does."""
        changes = self.set_shares(router, 0)
        del self._shares_ppm[router]
        self._published_ppm.pop(router, None)
        changes.pop(router, None)
        return changes
