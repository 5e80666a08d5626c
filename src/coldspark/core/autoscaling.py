"""How many replicas there shall be, with the reason in words. A pure function of what is seen.

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
"""

import math

from coldspark.core.rules.seen import Observed, Verdict
from coldspark.core.types import ScalePolicy

AGEING_STARTS = 3.0


def decide(policy: ScalePolicy, seen: Observed) -> Verdict:
    """Return the wanted number of replicas; never fewer than there are (idle clocks do that)."""
    present = seen.ready + len(seen.starting_ages_s)
    floor = max(present, policy.replicas_min)
    if seen.queued == 0:
        reason = "provisioned" if floor > present else "nobody waits"
        return Verdict(floor, reason)
    starts = _starts(policy, seen)
    wanted = min(max(present + starts, floor), max(policy.replicas_max, present))
    return Verdict(wanted, _explain(policy, seen, starts, wanted - present))


def _starts(policy: ScalePolicy, seen: Observed) -> int:
    slots = policy.concurrency
    start_s = seen.start_s or 0.0
    rounds = start_s / seen.service_s if seen.service_s else 0.0
    need = max(slots, policy.waste_budget * slots * rounds)
    taken = seen.ready * slots * rounds
    for age_s in seen.starting_ages_s:
        ahead_s = min(age_s, start_s)
        ahead = ahead_s * slots / seen.service_s if seen.service_s else 0.0
        taken += max(need, slots + ahead)
    starts = math.floor((seen.queued - taken) / need + 0.5)
    if seen.ready == 0 and not seen.starting_ages_s:
        return max(1, starts)
    if not seen.starting_ages_s and start_s and seen.oldest_wait_s > AGEING_STARTS * start_s:
        return max(1, starts)
    return max(0, starts)


def _explain(policy: ScalePolicy, seen: Observed, starts: int, granted: int) -> str:
    there = f"{seen.queued} waiting, {seen.ready} ready, {len(seen.starting_ages_s)} starting"
    if granted <= 0 and starts > 0:
        return f"{there}: at replicas_max={policy.replicas_max}"
    if granted <= 0:
        return f"{there}: those at hand will have taken them on before another could start"
    capped = f" (of {starts}: replicas_max={policy.replicas_max})" if starts > granted else ""
    return f"{there}: start {granted}{capped}"
