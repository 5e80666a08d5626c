"""Run moto's own test suites, unmodified, against this server, and compare with what is known.

    python scripts/run_moto_suites.py --moto DIRECTORY [SUITE ...]

DIRECTORY is a checkout of moto or its unpacked source distribution, with its tests: they are not
kept here. Each file ``tests/compat/moto/SUITE.toml`` says which tests pass, and why the others do
not; a test that is listed as passing and does not is a regression, and so is one that no list
names. What moto needs is installed once, into the cache of the other clients.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTS = ROOT / "tests" / "compat" / "moto"
SUITE_S = 1_800

sys.path.insert(0, str(ROOT / "tests" / "rigs"))

from client_interpreters import interpreter  # type: ignore[import-not-found]  # noqa: E402


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is known of one of moto's suites."""

    name: str
    directory: str
    files: tuple[str, ...]
    passes: frozenset[str]
    excluded: Mapping[str, str]

    @property
    def paths(self) -> list[str]:
        """Return what pytest is told to run."""
        return [f"{self.directory}/{file}" for file in self.files] or [self.directory]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a run says beyond what is known."""

    regressions: list[str]
    unknown: list[str]
    better: list[str]
    missing: list[str]

    @property
    def is_good(self) -> bool:
        """Return whether nothing is worse than the list says."""
        return not self.regressions and not self.unknown and not self.missing


def load(path: Path) -> Suite:
    """Read a list. Raises KeyError and ValueError."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    passes, excluded = frozenset(table["passes"]), table.get("excluded", {})
    both = sorted(passes & set(excluded))
    if both:
        raise ValueError(f"{path.name}: {', '.join(both)} cannot both pass and be excluded")
    return Suite(
        name=path.stem,
        directory=table["directory"],
        files=tuple(table.get("files", ())),
        passes=passes,
        excluded=excluded,
    )


def outcomes_in(text: str, directory: str) -> dict[str, str]:
    """Return each test's outcome: the worst of its parts (its set-up, itself, its end)."""
    order = ("passed", "skipped", "failed")
    found: dict[str, str] = {}
    for line in text.splitlines():
        outcome, _, id = line.partition(" ")
        test = id.removeprefix(f"{directory}/")
        found[test] = max(found.get(test, "passed"), outcome, key=order.index)
    return found


def compare(suite: Suite, outcomes: Mapping[str, str]) -> Comparison:
    """Compare a run with the list."""
    passed = {test for test, outcome in outcomes.items() if outcome == "passed"}
    ran = set(outcomes)
    return Comparison(
        regressions=sorted((suite.passes & ran) - passed),
        unknown=sorted(ran - suite.passes - set(suite.excluded)),
        better=sorted(passed & set(suite.excluded)),
        missing=sorted((suite.passes | set(suite.excluded)) - ran),
    )


def run(suite: Suite, moto: Path, python: Path) -> dict[str, str]:
    """Run a suite; return outcomes by test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as scratch:
        noted = Path(scratch) / "outcomes"
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "COLDSPARK_OUTCOMES": str(noted),
            "COLDSPARK_SERVER": str(Path(sys.executable).with_name("coldspark")),
            "COLDSPARK_SERVER_PORT": port,
            "MOTO_CALL_RESET_API": "false",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(LISTS),
            "TESTS_SKIP_REQUIRES_DOCKER": "true",
            "TEST_SERVER_MODE": "true",
            "TEST_SERVER_MODE_ENDPOINT": f"http://localhost:{port}",
        }
        options = ["-q", "--no-header", "-p", "fresh_server", "-p", "no:cacheprovider"]
        subprocess.run(
            [str(python), "-m", "pytest", *options, *suite.paths],
            cwd=moto,
            env=environment,
            timeout=SUITE_S,
            check=False,
        )
        text = noted.read_text(encoding="utf-8") if noted.exists() else ""
    return outcomes_in(text, suite.directory)


def told(suite: Suite, outcomes: Mapping[str, str], comparison: Comparison) -> str:
    """Say what came out, in words."""
    counts = Counter(outcomes.values())
    summary = (
        f"{suite.name}: {counts['passed']} of {len(outcomes)} pass, {counts['skipped']} are"
        f" skipped by moto; {len(suite.excluded)} are excluded, each for a reason"
    )
    lines = [summary]
    for word, tests in (
        ("passed before", comparison.regressions),
        ("is in no list", comparison.unknown),
        ("is listed and did not run", comparison.missing),
        ("is excluded and passes", comparison.better),
    ):
        lines += [f"  {word}: {test} ({outcomes.get(test, 'not run')})" for test in tests]
    return "\n".join(lines)


def main() -> int:
    """Run the suites that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--moto", type=Path, required=True, help="a checkout, with its tests")
    known = sorted(path.stem for path in LISTS.glob("*.toml") if path.stem != "server")
    parser.add_argument("suite", nargs="*", help=f"of {', '.join(known)}")
    asked = parser.parse_args()
    python: Path = interpreter("moto")
    is_good = True
    summaries = []
    for name in asked.suite or known:
        suite = load(LISTS / f"{name}.toml")
        outcomes = run(suite, asked.moto, python)
        comparison = compare(suite, outcomes)
        summaries.append(told(suite, outcomes, comparison))
        is_good = is_good and comparison.is_good
    print("\n".join(summaries))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
