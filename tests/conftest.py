"""What holds for all tests."""

from collections import Counter

import pytest
import whole_run
from hypothesis import HealthCheck, settings

# Speed is judged by benchmarks: an example that takes long on a busy machine is no failure.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("default"), max_examples=20)
settings.register_profile("slow", settings.get_profile("default"), max_examples=500)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that start processes first: a long one at the end would leave cores idle."""
    real = {item.path for item in items if item.get_closest_marker("process")}
    items.sort(key=lambda item: item.path not in real)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> object:
    """Count every test that is over, for the one that waits for all others."""
    found = yield
    whole_run.count(item.config)
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was not tried on this machine, and why: a skipped test proves nothing."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(_reason(report) for report in skipped)
    if reasons:
        terminalreporter.section(f"{len(skipped)} NOT TRIED on this machine", yellow=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5d}  {reason}")


def _reason(report: pytest.TestReport) -> str:
    told = report.longrepr
    text = told[2] if isinstance(told, tuple) else str(told)
    return text.removeprefix("Skipped: ")
