"""The input of a simulation: requests with their times, and distributions of durations."""

import math
import random
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests of one endpoint, sorted by arrival."""

    arrivals_s: Sequence[float]
    services_s: Sequence[float]
    """How long a replica works on each."""

    def __post_init__(self) -> None:
        if len(self.arrivals_s) != len(self.services_s):
            raise ValueError(
                f"{len(self.arrivals_s)} arrivals and {len(self.services_s)} service times"
            )

    def __len__(self) -> int:
        return len(self.arrivals_s)

    @property
    def span_s(self) -> float:
        """Return the time from 0 to the last arrival."""
        return self.arrivals_s[-1] if self.arrivals_s else 0.0


class Durations:
    """A distribution of durations in seconds, given by measured samples or by two quantiles."""

    def __init__(self, samples_s: Sequence[float]) -> None:
        if not samples_s or min(samples_s) < 0 or not all(map(math.isfinite, samples_s)):
            raise ValueError("durations need at least one sample, each finite and not negative")
        self._samples_s = sorted(samples_s)

    @classmethod
    def fixed(cls, seconds: float) -> "Durations":
        """Return the distribution of what always takes the same time."""
        return cls([seconds])

    @classmethod
    def lognormal(cls, median_s: float, p95_s: float) -> "Durations":
        """Return a log-normal distribution by its median and its 95th percentile.

        Kept as its 999 inner quantiles. Worked number: median 10, p95 20 has sigma
        ln(2) / 1.645 = 0.421.
        """
        if not 0 < median_s <= p95_s:
            raise ValueError(f"median {median_s:g} s must be over 0 and at most p95 {p95_s:g} s")
        from statistics import NormalDist

        sigma = math.log(p95_s / median_s) / NormalDist().inv_cdf(0.95)
        normal = NormalDist()
        return cls([median_s * math.exp(sigma * normal.inv_cdf(i / 1000)) for i in range(1, 1000)])

    def draw(self, chance: random.Random) -> float:
        """Return one duration."""
        samples = self._samples_s
        return samples[0] if len(samples) == 1 else samples[int(chance.random() * len(samples))]

    def quantile(self, share: float) -> float:
        """Return the nearest-rank quantile."""
        return self._samples_s[min(len(self._samples_s) - 1, int(share * len(self._samples_s)))]

    @property
    def mean_s(self) -> float:
        """Return the mean."""
        return sum(self._samples_s) / len(self._samples_s)


def synthetic_traffic(
    *,
    rate_per_hour: float,
    days: float,
    hours: tuple[float, float] = (0.0, 24.0),
    burst: float = 1.0,
    service: Durations,
    seed: int = 0,
) -> Traffic:
    """Return made-up traffic: so many requests an hour within the hours of each day, in bursts.

    Bursts arrive as a Poisson process of ``rate_per_hour / burst`` an hour; each holds a
    geometric number of requests with the mean ``burst``, all at once.
    """
    first, last = hours
    if not 0 <= first < last <= 24:
        raise ValueError(f"hours {first:g}-{last:g} must lie in 0-24, the first before the last")
    if rate_per_hour <= 0 or days <= 0 or burst < 1:
        raise ValueError("rate and days must be over 0, burst at least 1")
    chance = random.Random(seed)
    arrivals = array("d")
    for day in range(math.ceil(days)):
        now, end = day * 86_400 + first * 3600, min(day * 86_400 + last * 3600, days * 86_400)
        while (now := now + chance.expovariate(rate_per_hour / burst / 3600)) < end:
            size = 1
            while burst > 1 and chance.random() < 1 - 1 / burst:
                size += 1
            arrivals.extend([now] * size)
    return Traffic(arrivals, array("d", (service.draw(chance) for _ in arrivals)))


def spread_over_windows(
    windows: Sequence[tuple[float, float, int]], service: Durations, seed: int = 0
) -> Traffic:
    """Return requests at random moments of the windows (begin, length, count) that counted them."""
    chance = random.Random(seed)
    arrivals = sorted(
        begin_s + chance.random() * length_s
        for begin_s, length_s, count in windows
        for _ in range(count)
    )
    return Traffic(array("d", arrivals), array("d", (service.draw(chance) for _ in arrivals)))


def resampled(traffic: Traffic, block_s: float, seed: int) -> Traffic:
    """Return traffic of the same length made of blocks of it, drawn with replacement.

    The block bootstrap (Künsch 1989): within a block the requests keep their order and intervals.
    """
    blocks = max(1, math.ceil(traffic.span_s / block_s))
    chance = random.Random(seed)
    arrivals, services = array("d"), array("d")
    for index in range(blocks):
        drawn = chance.randrange(blocks)
        low = bisect_right(traffic.arrivals_s, drawn * block_s - 1e-9)
        high = bisect_right(traffic.arrivals_s, (drawn + 1) * block_s - 1e-9)
        shift_s = (index - drawn) * block_s
        arrivals.extend(traffic.arrivals_s[i] + shift_s for i in range(low, high))
        services.extend(traffic.services_s[low:high])
    return Traffic(arrivals, services)
