"""The machine's bill adds up to the nano-dollar, whatever replicas and requests do."""

from hypothesis import given
from hypothesis import strategies as st

from coldspark.billing.meter import Meter
from coldspark.spec.types import ReplicaId, RequestId

STEPS = st.lists(
    st.tuples(st.sampled_from("prbfxs"), st.integers(0, 3), st.integers(0, 5_000_000)), max_size=60
)


@given(steps=STEPS, rate=st.integers(0, 10**12), share=st.integers(0, 1_000_000))
def test_busy_starting_idle_and_overhead_equal_the_bill(
    steps: list[tuple[str, int, int]], rate: int, share: int
) -> None:
    """Any history, settled at the end, sums to exactly what the machine cost."""
    meter, now, total, born = Meter(rate, 0), 0, 0, 0
    ready: dict[ReplicaId, bool] = {}
    running: dict[RequestId, ReplicaId] = {}
    for kind, pick, elapsed in steps:
        now += elapsed
        names = sorted(ready)
        name = names[pick % len(names)] if names else None
        if kind == "p":
            born += 1
            meter.add_replica(ReplicaId(f"{born:03}"), share, now)
            ready[ReplicaId(f"{born:03}")] = False
        elif kind == "r" and name and not ready[name]:
            total += meter.mark_ready(name, now).nanos
            ready[name] = True
        elif kind == "b" and name and ready[name]:
            born += 1
            stretch = meter.begin_request(RequestId(str(born)), name, now)
            total += stretch.nanos if stretch else 0
            running[RequestId(str(born))] = name
        elif kind == "f" and running:
            request = sorted(running)[pick % len(running)]
            total += meter.finish_request(request, now)
            del running[request]
        elif kind == "x" and name and name not in running.values():
            stretch = meter.remove_replica(name, now)
            total += stretch.nanos if stretch else 0
            del ready[name]
        elif kind == "s":
            stretches, overhead = meter.settle(now)
            total += sum(stretch.nanos for stretch in stretches) + overhead
        meter.check()
    for request in running:
        total += meter.finish_request(request, now)
    stretches, overhead = meter.settle(now)
    total += sum(stretch.nanos for stretch in stretches) + overhead
    assert total == meter.total_nanos(now)


def test_the_requests_that_a_replica_holds_for_a_batch_share_its_cost() -> None:
    """Four that came one by one and are answered together: each pays its part of each moment."""
    meter = Meter(3_600_000_000, 0)  # 1000 nanos a millisecond.
    meter.add_replica(ReplicaId("r"), 1_000_000, 0)
    meter.mark_ready(ReplicaId("r"), 0)
    for at in range(4):
        meter.begin_request(RequestId(str(at)), ReplicaId("r"), at * 12_000)
    nanos = [meter.finish_request(RequestId(str(at)), 60_000) for at in range(4)]

    # 12 ms alone, 12 of two, 12 of three, 24 of four.
    assert nanos == [28_000, 16_000, 10_000, 6_000]
    assert sum(nanos) == meter.total_nanos(60_000)
