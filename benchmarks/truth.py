"""A real run against its simulation: what it cost, and how long callers waited.

    python -m benchmarks.truth [--minutes 10]

A platform of its own serves ``examples/embed`` to callers who come at random: bursts around a mean
gap, replicas that end after a few idle seconds, so that many requests meet no replica. Then its own
ledger is simulated: the recorded arrivals, each with its own service time, and starts drawn from
the measured ones. Cost is what was busy, starting and idle. Run alone on the machine; it says so
when it falls outside of 5 % for the cost, 15 % for the median and the 95th percentile.
"""

import argparse
import json
import random
import time
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.servers import Platform, platform
from benchmarks.wakes import EXAMPLES
from coldspark.sdk.deploy import deploy
from coldspark.sim.simulator import ReplicaBehaviour, SimulatedEndpoint, Simulator
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.messages import NodeJoined
from coldspark.spec.scaling_rules import Learned
from coldspark.spec.types import Command, NodeId, Resources, Revision, RevisionId, ScalePolicy, Spec

IDLE_S = 3.0
REPLICAS_MAX = 4
MEAN_GAP_S = 2.5
BURST = 3
TEXTS = 400
SETTLED_S = 15.0
"""What was held is written down every ten seconds."""
COST_WITHIN, WAIT_WITHIN = 0.05, 0.15
LINES_MAX = 1000
_CALLERS = 16
_WAITS = ("received_us", "queued_us", "placed_us", "fetched_us", "booted_us", "loaded_us")
_STARTS = ("fetched_us", "booted_us", "loaded_us")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run, real or simulated, came to."""

    held_s: float
    """Replica-seconds busy, starting or idle."""
    p50_ms: float
    p95_ms: float
    starts: int


def played(ours: Platform, minutes: float) -> tuple[list[dict[str, Any]], float]:
    """Let callers come; return the ledger's lines, oldest first, and the replica-seconds held."""
    scale = {"max": REPLICAS_MAX, "idle_timeout": IDLE_S, "park_timeout": 0}
    name = str(deploy(ours.client, EXAMPLES / "embed", {"scale": scale})["name"])
    body = json.dumps({"texts": ["a cat sat on the mat and looked at the moon"] * TEXTS}).encode()
    # The first call builds the environment and the template: it is not what is simulated.
    _ask(ours, name, body)
    time.sleep(IDLE_S + SETTLED_S)
    since_ms = time.time_ns() // 1_000_000
    before = held_s(ours, name)
    chance, begun = random.Random(1), time.monotonic()
    at_s = 0.0
    with ThreadPoolExecutor(_CALLERS) as pool:
        while at_s < minutes * 60:
            at_s += chance.expovariate(1 / MEAN_GAP_S)
            time.sleep(max(0.0, begun + at_s - time.monotonic()))
            for _ in range(chance.randint(1, BURST)):
                pool.submit(_ask, ours, name, body)
    time.sleep(IDLE_S + SETTLED_S)
    lines = ours.client.find_requests(name, LINES_MAX, since_ms=since_ms)["requests"]
    assert len(lines) < LINES_MAX, "fewer minutes: the newest lines alone are read"
    return sorted(lines, key=lambda line: line["arrived_ms"]), held_s(ours, name) - before


def _ask(ours: Platform, name: str, body: bytes) -> None:
    assert ours.client.invoke(name, body, content_type="application/json").content


def held_s(ours: Platform, name: str) -> float:
    """Return the replica-seconds of an endpoint so far, from its own bill."""
    lines = ours.client.bill(name, book="own")["lines"]
    return float(sum(line["quantity"] for line in lines if line["unit"] == "second"))


def real(lines: Sequence[dict[str, Any]], held: float) -> Outcome:
    """Return what the ledger says."""
    waits = sorted(sum(line["waterfall"].values()) / 1000 for line in lines)
    replicas = {line["replica"] for line in lines}
    return Outcome(held, _quantile(waits, 0.5), _quantile(waits, 0.95), len(replicas))


def simulated(lines: Sequence[dict[str, Any]]) -> Outcome:
    """Return what the simulator says of the same requests."""
    falls = [line["waterfall"] for line in lines]
    first_ms = lines[0]["arrived_ms"]
    arrivals = array("d", ((line["arrived_ms"] - first_ms) / 1000 for line in lines))
    services = array("d", (_service_us(fall) / 1e6 for fall in falls))
    starts = [sum(fall[stage] for stage in _STARTS) / 1e6 for fall in falls]
    # Who came while a replica was starting saw a part of its start: only the longest of each count.
    longest: dict[str, float] = {}
    for line, start_s in zip(lines, starts, strict=True):
        if line["is_cold"] and line["replica"]:
            longest[line["replica"]] = max(start_s, longest.get(line["replica"], 0.0))
    scale = ScalePolicy(
        rule=Learned(), replicas_max=REPLICAS_MAX, idle_timeout_s=IDLE_S, park_timeout_s=0.0
    )
    spec = Spec(command=Command(argv=("serve",)), resources=Resources(), scale=scale)
    endpoint = SimulatedEndpoint(
        name="e",
        revision=Revision(id=RevisionId("r"), spec=spec),
        traffic=Traffic(arrivals, services),
        behaviour=ReplicaBehaviour(start=Durations(list(longest.values()))),
    )
    node = NodeJoined(node=NodeId("n"), memory_bytes=10**12, vcpus=64.0)
    world = Simulator([endpoint], [node], rate_nanos_per_hour=10**9)
    world.run()
    run = world.runs[0]
    waits = sorted(
        (wait_s + service_s) * 1000 for wait_s, service_s in zip(run.waits_s, services, strict=True)
    )
    return Outcome(run.held_s, _quantile(waits, 0.5), _quantile(waits, 0.95), run.starts)


def _service_us(fall: dict[str, int]) -> int:
    return sum(fall.values()) - sum(fall[stage] for stage in _WAITS)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    """Run, simulate, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    with platform() as ours:
        lines, held = played(ours, minutes)
    assert lines, "nothing was recorded"
    found, modelled = real(lines, held), simulated(lines)
    print(f"{len(lines)} requests in {minutes:g} minutes")
    worst = 0
    for what, within in (("held_s", COST_WITHIN), ("p50_ms", WAIT_WITHIN), ("p95_ms", WAIT_WITHIN)):
        a, b = getattr(found, what), getattr(modelled, what)
        off = b / a - 1
        worst += abs(off) > within
        mark = "" if abs(off) <= within else f"  OUTSIDE of {within:.0%}"
        print(f"{what:8} real {a:10.2f}  simulated {b:10.2f}  {off:+.1%}{mark}")
    print(f"starts   real {found.starts:10}  simulated {modelled.starts:10}")
    raise SystemExit(1 if worst else 0)


if __name__ == "__main__":
    main()
