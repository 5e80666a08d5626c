"""The measurements: of a warm system, and of one that is at zero replicas."""

import os
import time
from dataclasses import dataclass

from benchmarks import load
from benchmarks.load import Load
from benchmarks.peers import coldspark_endpoints, trees
from benchmarks.peers.running import running
from benchmarks.peers.systems import Setup
from benchmarks.servers import until_open

CONCURRENCIES = (1, 16, 64)
WAKES = {"default": 3, "tuned": 5}
COLDSPARK_WAKES = 11
_WARM_S = 1
_SETTLE_S = 2.0
_IDLE_S = 3.0
_CALM_CORES, _CALM_LOOK_S, _CALM_S = 0.3, 0.5, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A warm system's row."""

    load_average: float
    start_s: float
    idle_mb: float
    idle_cores: float
    loads: dict[str, Load]
    """By concurrency; its keys are text, as JSON's are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero:
    """Wakes of one tuning."""

    load_average: float
    at_zero_mb: float
    wakes_s: list[float]


def load_average() -> float:
    """Return the machine's load over the last minute, ours included."""
    return os.getloadavg()[0]


def until_calm() -> None:
    """Wait until what still starts behind the first answer has started, or for 20 s."""
    deadline = time.monotonic() + _CALM_S
    while time.monotonic() < deadline and trees.cores_used(_CALM_LOOK_S) > _CALM_CORES:
        pass


def warm(setup: Setup, worker: str, cores: list[int], load_core: int, seconds: int) -> Warm:
    """Start a system on the first core; load it from another."""
    busy = load_average()
    with running(setup, setup.launch, worker, cores[:1]) as system:
        start_s = system.first_answer_s()
        until_calm()
        load.put(system.address, CONCURRENCIES[1], _WARM_S, load_core)
        loads = {
            str(concurrency): load.put(system.address, concurrency, seconds, load_core)
            for concurrency in CONCURRENCIES
        }
        time.sleep(_SETTLE_S)
        idle_cores = trees.cores_used(_IDLE_S)
        return Warm(
            load_average=busy,
            start_s=start_s,
            idle_mb=trees.pss_mb(),
            idle_cores=idle_cores,
            loads=loads,
        )


def zero(setup: Setup, tuning: str, worker: str, cores: list[int]) -> Zero:
    """Wake a system again and again, on all cores: nothing else runs meanwhile."""
    busy = load_average()
    with running(setup, setup.zero[tuning], worker, cores) as system:
        count = WAKES[tuning]
        if setup.is_coldspark:
            count = COLDSPARK_WAKES
            until_open(system.place.port)
            coldspark_endpoints.put(system.place, may_be_zero=True)
            load.timed_call_s(system.address)
        wakes_s = []
        for _ in range(count):
            system.be_at_zero()
            at_zero_mb = trees.pss_mb()
            wakes_s.append(load.timed_call_s(system.address))
    return Zero(load_average=busy, at_zero_mb=at_zero_mb, wakes_s=wakes_s)
