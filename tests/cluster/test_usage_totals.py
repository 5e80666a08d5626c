"""Several meters of one machine: all lines together are its bill, to the nano-dollar."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from coldspark.billing.meter import WHOLE_PPM, Meter
from coldspark.cluster.usage_totals import RouterUsageTotals
from coldspark.spec.types import ReplicaId

STEPS = st.lists(
    st.tuples(
        st.sampled_from("prxsk"),
        st.integers(0, 2),
        st.integers(0, WHOLE_PPM),
        st.integers(0, 5_000_000),
    ),
    max_size=60,
)


class Machine:
    """A lead (router 0) and two others. ``lines`` is what they have written down."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.now = 0
        self.lines = 0
        self.books = RouterUsageTotals()
        self.meters = [Meter(rate, 0) for _ in range(3)]
        self.written = [0, 0, 0]
        """Of the present boot of each router."""
        self.boots = [0, 1, 2]
        self.replicas: list[dict[ReplicaId, bool]] = [{}, {}, {}]
        self.born = 0

    def write(self, router: int, nanos: int) -> None:
        self.lines += nanos
        self.written[router] += nanos

    def place(self, router: int, share: int) -> None:
        self.born += 1
        name = ReplicaId(str(self.born))
        self.meters[router].add_replica(name, share, self.now)
        self.replicas[router][name] = False
        self.tell(router)

    def ready(self, router: int) -> None:
        for name, is_ready in self.replicas[router].items():
            if not is_ready:
                self.write(router, self.meters[router].mark_ready(name, self.now).nanos)
                self.replicas[router][name] = True
                return

    def release(self, router: int) -> None:
        if self.replicas[router]:
            name, _ = self.replicas[router].popitem()
            stretch = self.meters[router].remove_replica(name, self.now)
            self.write(router, stretch.nanos if stretch else 0)
            self.tell(router)

    def tell(self, router: int) -> None:
        news = self.books.set_shares(router, self.meters[router].shares_ppm)
        for each, elsewhere in news.items():
            self.meters[each].set_elsewhere_share(elsewhere, self.now)

    def settle(self) -> None:
        for router in (1, 2):
            stretches, _ = self.meters[router].settle(self.now)
            self.write(router, sum(stretch.nanos for stretch in stretches))
            self.books.record_charged(self.boots[router], self.meters[router].charged_nanos)
        self.settle_lead()

    def settle_lead(self) -> None:
        self.meters[0].elsewhere_nanos = self.books.nanos
        stretches, overhead = self.meters[0].settle(self.now)
        self.lines += sum(stretch.nanos for stretch in stretches) + overhead

    def kill(self, router: int) -> None:
        """End a router without a word: what it had not written is gone."""
        if router == 0:
            return
        self.books.record_ended(self.boots[router], self.written[router])
        self.books.record_charged(self.boots[router], 10**15)  # An answer that comes too late.
        for each, elsewhere in self.books.remove_router(router).items():
            self.meters[each].set_elsewhere_share(elsewhere, self.now)
        self.boots[router] = max(self.boots) + 1
        self.written[router] = 0
        self.replicas[router] = {}
        self.meters[router] = Meter(self.rate, self.now)


@given(steps=STEPS, rate=st.integers(0, 10**12))
def test_the_lines_of_all_routers_are_the_bill_exactly(
    steps: list[tuple[str, int, int, int]], rate: int
) -> None:
    """Any history with deaths, settled at the end."""
    machine = Machine(rate)
    for kind, router, share, elapsed in steps:
        machine.now += elapsed
        if kind == "p":
            machine.place(router, share)
        elif kind == "r":
            machine.ready(router)
        elif kind == "x":
            machine.release(router)
        elif kind == "s":
            machine.settle()
        else:
            machine.kill(router)
    machine.settle()
    assert machine.lines == rate * machine.now // 3_600_000_000


@given(steps=STEPS)
def test_routers_that_hold_more_than_the_machine_are_not_charged_for_more(
    steps: list[tuple[str, int, int, int]],
) -> None:
    """Each pays its part of the sum, so overhead is never negative by more than rounding."""
    machine = Machine(10**9)
    for kind, router, share, elapsed in steps:
        machine.now += elapsed
        if kind in "px":
            act = machine.release if kind == "x" else partial(machine.place, share=share)
            act(router)
        charged = sum(meter.charged_nanos for meter in machine.meters)
        assert charged <= 10**9 * machine.now // 3_600_000_000


def test_shares_are_reported_only_while_they_pass_the_whole_machine() -> None:
    """The worked numbers of ``hold``."""
    books = RouterUsageTotals()
    assert books.set_shares(0, 300_000) == {}
    assert books.set_shares(1, 500_000) == {}
    assert books.set_shares(0, 700_000) == {0: 500_000, 1: 700_000}
    assert books.set_shares(0, 100_000) == {0: 0, 1: 0}
