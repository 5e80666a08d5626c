"""Compare coldspark with its peers: ``python -m benchmarks.peers [PEER ...] [--write]``."""

import argparse
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from benchmarks.peers import coldspark_endpoints, installs, measuring, trees
from benchmarks.peers.results import Context, Results, context
from benchmarks.peers.running import cores, end_on_signals
from benchmarks.peers.systems import SETUPS, Setup
from benchmarks.peers.tables import page, tables
from coldspark.errors import ColdsparkError

_PAGE = installs.ROOT / "docs" / "reference" / "peers.md"
_RESULTS = installs.BENCH / "results.json"
_EPILOG = """\
A full run takes 10 to 14 minutes; the first also installs the peers (about 3 GB below .bench/peers,
some minutes). It needs Linux, two cores, wrk, taskset, and nginx for its row; run it alone on the
machine. Ctrl-C ends everything that was started. Rows are kept in .bench/peers/results.json: a
partial run replaces its own rows only.
"""
Step = tuple[Setup, str, Callable[[Results], None]]


def _arguments() -> argparse.Namespace:
    names = list(dict.fromkeys(setup.peer for setup in SETUPS))
    workers = list(dict.fromkeys(worker for setup in SETUPS for worker in setup.workers))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, epilog=_EPILOG
    )
    known = [*names, *(s.name for s in SETUPS if s.name not in names)]
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"all, or of: {', '.join(known)}")
    parser.add_argument("--worker", choices=workers, help="only this worker")
    parser.add_argument("--part", choices=("warm", "zero"), help="only this kind of row")
    parser.add_argument("--seconds", type=int, default=3, help="of each load (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/reference/peers.md")
    parser.add_argument("--show", action="store_true", help="measure nothing, show what is kept")
    asked = parser.parse_args()
    unknown = sorted(set(asked.peers) - set(known))
    if unknown:
        parser.error(f"no peer {unknown[0]!r}: there is {', '.join(known)}")
    return asked


def _steps(asked: argparse.Namespace) -> Iterator[Step]:
    """Yield what is to be measured; each step puts its row into the results."""
    everything, load_core = cores()
    for setup in SETUPS:
        if asked.peers and not {setup.name, setup.peer} & set(asked.peers):
            continue
        workers = [w for w in setup.workers if asked.worker in (None, w)]
        for worker in workers if asked.part != "zero" else ():
            yield setup, worker, _warm(setup, worker, everything, load_core, asked.seconds)
        for worker in workers if asked.part != "warm" else ():
            if worker in ("echo", "minilm"):
                for tuning in setup.zero:
                    what = f"{worker} from zero ({tuning})"
                    yield setup, what, _zero(setup, tuning, worker, everything)


def _warm(
    setup: Setup, worker: str, everything: list[int], load_core: int, seconds: int
) -> Callable[[Results], None]:
    def step(results: Results) -> None:
        row = measuring.warm(setup, worker, everything, load_core, seconds)
        results.warm[setup.name, worker] = _context(setup, len(everything)), row

    return step


def _zero(
    setup: Setup, tuning: str, worker: str, everything: list[int]
) -> Callable[[Results], None]:
    def step(results: Results) -> None:
        row = measuring.zero(setup, tuning, worker, everything)
        results.zero[setup.name, tuning, worker] = _context(setup, len(everything)), row

    return step


def _measure(steps: list[Step], results: Results) -> bool:
    """Take the steps; return whether all went well. One that fails stops no other."""
    missing = {setup.name: reason for setup in SETUPS if (reason := _missing(setup, steps))}
    is_well = not missing
    for setup, what, step in steps:
        if setup.name in missing:
            continue
        begun = time.monotonic()
        print(f"{setup.name}: {what} ...", end="", flush=True)
        reason = _tried(step, results)
        print(f" {time.monotonic() - begun:.0f} s", flush=True)
        _note(results, f"{setup.name}, {what}", reason)
        is_well = is_well and reason is None
    for name, reason in missing.items():
        _note(results, name, reason)
    return is_well


def _missing(setup: Setup, steps: list[Step]) -> str | None:
    """Install what a setup needs; return why it cannot be measured."""
    if all(wanted is not setup for wanted, _, _ in steps):
        return None
    try:
        setup.version()
        if setup.peer == "coldspark":
            coldspark_endpoints.build_environment()
        elif setup.peer != "nginx":
            installs.python(setup.peer)
    except installs.CannotInstall as error:
        return str(error)
    return None


def _tried(step: Callable[[Results], None], results: Results) -> str | None:
    try:
        step(results)
    except (RuntimeError, OSError, ValueError, ColdsparkError, subprocess.SubprocessError) as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def _note(results: Results, name: str, reason: str | None) -> None:
    results.failed.pop(name, None)
    if reason is not None:
        results.failed[name] = reason
        print(f"SKIPPED {name}: {reason}", file=sys.stderr, flush=True)
    results.save()


def _context(setup: Setup, count: int) -> Context:
    command = " ".join(["python -m benchmarks.peers", *sys.argv[1:]])
    return context(setup.version(), command, count)


def main() -> int:
    """Measure, show, and write the page if that is asked for."""
    asked = _arguments()
    results = Results(_RESULTS)
    is_well = True
    if not asked.show:
        for tool in ("wrk", "taskset"):
            installs.program(tool)
        end_on_signals()
        trees.adopt_orphans()
        steps = list(_steps(asked))
        os.sched_setaffinity(0, {cores()[1]})
        is_well = _measure(steps, results)
    print("\n" + "\n".join(table.plain() for table in tables(results)))
    if asked.write:
        _PAGE.write_text(page(results), encoding="utf-8")
    return 0 if is_well else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except installs.CannotInstall as missing:
        sys.exit(str(missing))
    except KeyboardInterrupt:
        sys.exit(130)
