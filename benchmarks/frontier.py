"""What waiting costs: every scaling rule on recorded traffic, swept over its settings.

    python -m benchmarks.frontier --traces DIR [--copies N] [--write PATH] [--cache DIR]

Cost is replica-seconds held (starting, idle or busy) until ten minutes after an endpoint's last
request; a wait lasts from arrival to a replica. Both the 95th percentile and the mean of the waits
are compared; ``regrets`` says how.

First every rule is played with the settings of ``swept``. Then both sides are refined alike, in
turns, by at most ``--refine`` settings each and row: ``refining`` says where. Where a file has keys
(models, clients, apps), the largest few are played each alone, and together: as many endpoints
under one setting, whose costs add up and whose waits are pooled. None of them is ever short of
room, so that they need no common world.

``--copies`` plays the settings that matter on block-bootstrapped copies of each trace as well, in
blocks of an hour or a twelfth of the trace, whichever is shorter: the others' frontier, and of ours
what answers it with the two neighbours on our frontier. It gives the 90 % interval of ``mixed``:
sweeps are not refined anew on a copy, so that its ``worst`` would measure their steps.

PATH.json holds every point, PATH.md the table. ``--cache`` keeps what was played in a folder, and
takes it from there if nothing that is played has changed: an interrupted run goes on.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from heapq import merge
from pathlib import Path
from typing import Any

from benchmarks.frontier_table import Row, table
from benchmarks.plays import Play, Plays
from benchmarks.refining import Side
from benchmarks.regrets import WAITS, Point, answering, regret
from benchmarks.swept import OTHERS, OURS, Setting
from benchmarks.traces import traces
from coldspark.sim.traffic import Traffic

STARTS_S = (2.0, 30.0)
_SAY_EVERY_S = 20.0
Study = Generator[list[Play], None, Row]
"""Yields what must be played before it goes on; ends with its row."""


@dataclass(frozen=True, slots=True)
class Case:
    """Endpoints under one setting, with one start time."""

    trace: str
    members: tuple[str, ...]
    """The traces that are played together; one, but for keys together."""
    requests: int
    start_s: float

    def plays(self, setting: Setting, copy: int = 0) -> list[Play]:
        """Return what has to be played for one setting."""
        return [Play(member, copy, self.start_s, setting) for member in self.members]

    def point(self, plays: Plays, setting: Setting, copy: int = 0) -> Point:
        """Return what came of a setting: costs add up, waits are pooled."""
        played = [plays.of(each) for each in self.plays(setting, copy)]
        waits = list(merge(*(each.waits_s for each in played)))
        p95_s = waits[min(len(waits) - 1, int(0.95 * len(waits)))]
        held_s = sum(each.held_s for each in played)
        return Point(setting.name, held_s, p95_s, sum(waits) / len(waits))


def study(case: Case, plays: Plays, refine: int, copies: int) -> Study:
    """Compare on one row: the sweeps, what is refined, then the copies."""
    mine, theirs = Side(OURS), Side(OTHERS)
    is_open = True
    while is_open:
        settings = [*mine.unplayed(), *theirs.unplayed()]
        yield [each for setting in settings for each in case.plays(setting)]
        for side in (mine, theirs):
            for setting in side.unplayed():
                side.learn(setting, case.point(plays, setting))
        points = mine.points, theirs.points
        asked = [
            side.refined < refine and side.refine(rivals)
            for side, rivals in ((mine, points[1]), (theirs, points[0]))
        ]
        is_open = any(asked)
    named = {each.name: each for each in mine.settings}
    kept = [named[name] for name in answering(mine.points, theirs.points)], theirs.on_frontier()
    numbers = range(1, copies + 1)
    settings = [*kept[0], *kept[1]]
    yield [each for n in numbers for setting in settings for each in case.plays(setting, n)]
    drawn = [[[case.point(plays, each, n) for each in side] for side in kept] for n in numbers]
    pairs = [(mine.points, theirs.points), *((one[0], one[1]) for one in drawn)]
    return Row(
        trace=case.trace,
        endpoints=len(case.members),
        requests=case.requests,
        start_s=case.start_s,
        ours=mine.points,
        others=theirs.points,
        refined=(mine.refined, theirs.refined),
        regrets={wait: [regret(ours, others, wait) for ours, others in pairs] for wait in WAITS},
    )


def cases(traffics: dict[str, Traffic], only: str) -> Iterator[Case]:
    """Yield what is to be compared: each trace at both starts, and keys of a file together."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in traffics:
        groups[name].append(name)
        if " " in name:
            groups[f"{name.split(' ')[0]} keys together"].append(name)
    for name, members in groups.items():
        if only in name:
            requests = sum(len(traffics[each]) for each in members)
            for start_s in STARTS_S:
                yield Case(name, tuple(members), requests, start_s)


def rows(studies: Sequence[Study], plays: Plays) -> list[Row]:
    """Advance all studies as what they wait for is played; say how far they are."""
    found: dict[int, Row] = {}
    missing: dict[int, set[Play]] = {}
    begun_s = said_s = time.monotonic()

    def advance(number: int) -> None:
        while not missing.get(number):
            try:
                missing[number] = plays.ask(next(studies[number]))
            except StopIteration as end:
                found[number] = end.value
                missing.pop(number, None)
                return

    for number in range(len(studies)):
        advance(number)
    while len(found) < len(studies):
        for each in plays.some():
            for number in [n for n, waited in missing.items() if each in waited]:
                missing[number].discard(each)
                advance(number)
        now = time.monotonic()
        if now - said_s > _SAY_EVERY_S or len(found) == len(studies):
            said_s = now
            print(
                f"{now - begun_s:6.0f} s: {plays.done:,} of {plays.asked:,} plays that are asked"
                f" for so far, {len(found)} of {len(studies)} rows",
                file=sys.stderr,
                flush=True,
            )
    return [found[number] for number in range(len(studies))]


def written(
    args: argparse.Namespace, found: Sequence[Row], took_s: float, worked_s: float
) -> dict[str, Any]:
    """Return the result for machines."""
    return {
        "command": "python -m benchmarks.frontier",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "processes": args.processes,
        "took_s": round(took_s, 1),
        "worked_s": round(worked_s, 1),
        "requests_max": args.requests,
        "refine": args.refine,
        "copies": args.copies,
        "rows": [asdict(row) for row in found],
    }


def main() -> None:
    """Play everything; print and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--only", default="", help="part of the rows' names")
    parser.add_argument("--all-keys", action="store_true", help="not only the largest few of each")
    parser.add_argument("--requests", type=int, default=4000, help="of a trace, at most")
    parser.add_argument("--refine", type=int, default=12, help="settings to add, to each side")
    parser.add_argument("--copies", type=int, default=0, help="resampled copies of each trace")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, default=Path(".bench/frontier"))
    parser.add_argument("--cache", type=Path, help="keep what was played in this folder")
    args = parser.parse_args()
    for folder in (args.cache, args.write.parent):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    begun_s = time.monotonic()
    traffics = dict(traces(args.traces, args.requests, is_quick=not args.all_keys))
    with Plays(traffics, args.processes, args.cache) as plays:
        asked = cases(traffics, args.only)
        found = rows([study(case, plays, args.refine, args.copies) for case in asked], plays)
    took_s = time.monotonic() - begun_s
    result = written(args, found, took_s, plays.worked_s)
    text = table(found)
    args.write.with_suffix(".md").write_text(text)
    args.write.with_suffix(".json").write_text(json.dumps(result, indent=1))
    print(text)
    work = f"{took_s:.0f} s, {plays.worked_s:.0f} s of processors"
    print(f"{work}; wrote {args.write}.json and {args.write}.md", file=sys.stderr)


if __name__ == "__main__":
    main()
