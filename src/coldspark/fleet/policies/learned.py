"""The learned rule: desired replicas and the reason, a pure function of the observation.

Notation: q requests queued, r ready and p starting replicas, c slots per replica, C seconds that a
start takes (a low quantile of the measured ones), S seconds that a request takes (a high quantile),
b the waste budget. Look as far ahead as a start takes: what the replicas at hand will have taken
on by then is no reason to start another; start only for the remainder.

    need   = max(c, b * c * C/S)
    taken  = r * c * C/S  +  sum over starting i of  max(need, c + (C - remaining_i) * c/S)
    start    floor((q - taken) / need + 1/2), and from nothing at least one

Worked number: q=50, r=0, p=0, c=1, b=0 asks for 50 starts; replicas_max=2 makes it 2. With those
two starting (C=4, S=1, remaining 4): taken = 2, so 48 more would be started if the maximum let it.
With b=1, need = 4: floor(50/4 + 1/2) = 13 starts, and those 13 are counted for the 52 requests that
they were started for. Counted for c each, the next arrival would ask for nine more, and so on.
Believing too much in what is there costs latency, believing too little costs seconds of GPU; hence
the two quantiles, and an ageing guard: a request older than three starts gets one more replica.

Of those, only as many are started as pay (``last_paying_replica``): each further start spares less
of the queue's waiting than the one before. A lasting load needs more than its backlog. With a
requests per second over the last H = 4 C, replicas that it keeps busy are spared from that
reckoning, floor(a S/c) of them, where one that is missing for as long again would cost more waiting
than its start: ``wait_value c H**2/(2 S) >= C``. With a waste budget, that alone decides.

    start    at most  floor(a S/c) + last_paying_replica - r - p

Where the policy has a patience P, whoever would wait for longer gets a start, whether or not it
pays: within P seconds those that are ready take r c P/S (S the mean here), and each that starts c.

    start    at least ceil((q - r c P/S - p c) / c)

Worked number: q=5, r=2, p=1, c=1, S=4 and P=2 ask for ceil(5 - 1 - 1) = 3; P=0 for 4.
"""

import math
from functools import lru_cache

from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.rule_policy import RulePolicy
from coldspark.spec.types import ScalePolicy

AGEING_STARTS = 3.0
RATE_STARTS = 4.0
"""Over how many starts the rate of arrivals is measured, and taken to go on."""
_POSITIONS_MAX = 10_000


def evaluate(policy: ScalePolicy, observation: Observation) -> ScaleDecision:
    """Return the desired number of replicas; never fewer than there are (idle clocks do that)."""
    present = observation.ready + len(observation.starting_ages_s)
    replicas_min = max(present, policy.replicas_min)
    if observation.queued == 0:
        reason = "provisioned" if replicas_min > present else "nobody waits"
        return ScaleDecision(replicas_min, reason)
    starts = _starts(policy, observation)
    desired = min(max(present + starts, replicas_min), max(policy.replicas_max, present))
    return ScaleDecision(desired, _explain(policy, observation, starts, desired - present))


@lru_cache(maxsize=4096)
def first_paying_position(rounds: float, value: float) -> int:
    """Return the first position in the queue for which a start pays by the waiting that it spares.

    Replicas at hand finish ``x = rounds`` requests within a start, one after another at random, so
    the j-th in the queue waits beyond the start by ``e(j) = E[(T(j) - x)+]`` on average, with T(j)
    the sum of j exponential times of mean 1. A start pays for it when ``value * e(j) >= x``, with
    ``value = wait_value * c``; times are in units of S/(r c). Worked number: x=1.5 and value=10:
    e(1) = exp(-1.5) = 0.22, and 2.2 >= 1.5, so already the first in the queue gets a start.
    """
    below, term, position = 0.0, math.exp(-rounds), 0
    while position < _POSITIONS_MAX:
        position += 1
        # P(N < j) and P(N < j + 1) for N Poisson with mean x.
        below += term
        term *= rounds / position
        saved = position * (below + term) - rounds * below
        if value * saved >= rounds:
            return position
    return _POSITIONS_MAX


def _starts(policy: ScalePolicy, observation: Observation) -> int:
    return max(
        _starts_for_work(policy, observation),
        _starts_for_waiting(policy, observation),
        _starts_for_patience(policy, observation),
    )


def _starts_for_patience(policy: ScalePolicy, observation: Observation) -> int:
    """Return the starts for those who would wait for longer than the policy lets them."""
    if policy.patience_s is None:
        return 0
    rounds = policy.patience_s / observation.service_mean_s if observation.service_mean_s else 0.0
    taken = len(observation.starting_ages_s) + observation.ready * rounds
    return max(0, math.ceil(observation.queued / policy.concurrency - taken))


def _starts_for_waiting(policy: ScalePolicy, observation: Observation) -> int:
    """Return the starts that pay by the waiting that they spare."""
    if (
        policy.waste_budget
        or not observation.start_s
        or not observation.service_mean_s
        or not observation.ready
    ):
        return 0
    slots = policy.concurrency
    rounds = observation.ready * slots * observation.start_s / observation.service_mean_s
    left = observation.queued - slots * len(observation.starting_ages_s)
    digits = 2 - math.floor(math.log10(rounds))
    position = first_paying_position(round(rounds, digits), policy.wait_value * slots)
    return (left - position) // slots + 1 if left >= position else 0


def _starts_for_work(policy: ScalePolicy, observation: Observation) -> int:
    slots = policy.concurrency
    start_s = observation.start_s or 0.0
    rounds = start_s / observation.service_s if observation.service_s else 0.0
    need = max(slots, policy.waste_budget * slots * rounds)
    ahead = [min(age_s, start_s) * slots for age_s in observation.starting_ages_s]
    done = [each / observation.service_s if observation.service_s else 0.0 for each in ahead]
    taken = observation.ready * slots * rounds
    left = observation.queued - taken - sum(done)
    taken += sum(max(need, slots + each) for each in done)
    present = observation.ready + len(done)
    starts = math.floor((observation.queued - taken) / need + 0.5)
    if starts > 0 and not policy.waste_budget:
        starts = min(starts, _paying(policy, observation, left / slots) - present)
    if present == 0:
        return max(1, starts)
    if not done and start_s and observation.oldest_wait_s > AGEING_STARTS * start_s:
        return max(1, starts)
    return max(0, starts)


def _paying(policy: ScalePolicy, observation: Observation, left: float) -> int:
    """Return how many replicas pay for a backlog of so many requests for each slot of one."""
    if not observation.start_s or not observation.service_mean_s:
        return _POSITIONS_MAX
    slots, rounds = policy.concurrency, observation.start_s / observation.service_mean_s
    value = policy.wait_value * slots
    busy = 0
    if 0.5 * value * RATE_STARTS * RATE_STARTS * rounds >= 1.0:
        busy = math.floor(observation.arrivals_per_s * observation.service_mean_s / slots)
    return busy + last_paying_replica(left, rounds, value)


def last_paying_replica(left: float, rounds: float, value: float) -> int:
    """Return the last replica whose start pays by the waiting of the whole queue.

    ``left`` requests for each slot of a replica wait still when a start is through. M replicas take
    them on after ``c S left**2 / (2 M)`` seconds of waiting in all, so the M-th spares
    ``c S left**2 / (2 M (M - 1))``. It pays while ``wait_value`` times that is C or more:
    ``M (M - 1) <= value left**2 / (2 rounds)``, with ``rounds = C/S`` and ``value = wait_value c``.
    Worked number: left=50, C=30, S=1, c=1 and wait_value=10: M (M - 1) <= 416.7, so 20 of the 50.
    """
    if left <= 0.0:
        return 0
    return math.floor(0.5 + math.sqrt(0.25 + 0.5 * value * left * left / rounds))


def _explain(policy: ScalePolicy, observation: Observation, starts: int, granted: int) -> str:
    starting = len(observation.starting_ages_s)
    there = f"{observation.queued} waiting, {observation.ready} ready, {starting} starting"
    if granted <= 0 and starts > 0:
        return f"{there}: at replicas_max={policy.replicas_max}"
    if granted <= 0:
        return f"{there}: those at hand will have taken them on before another start pays"
    capped = f" (of {starts}: replicas_max={policy.replicas_max})" if starts > granted else ""
    return f"{there}: start {granted}{capped}"


POLICY = RulePolicy(
    evaluate=lambda scale, observation, memory: (evaluate(scale, observation), None),
    initial_memory=lambda: None,
)
