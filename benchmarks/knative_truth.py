"""Knative's rule replayed against cold starts that were measured on a real Knative cluster.

    python -m benchmarks.knative_truth --traces DIR

The measured run (FeMux, EuroSys 2026: vanilla Knative) replayed a day of 100 Azure apps; 50 of them
are here, with their requests and cold starts. Of the same apps the trace says how many invocations
a day has and which minutes were busy, not when each request came: those of an app are spread here
at even distances within its busy minutes, each minute alike, as timers would; and over the whole
day where hardly any minute was busy (its requests were too short to make one so). Service times are
not known: 1 s, a start takes 2 s, concurrency is 1, the target 0.7. Apps with failures are left
out.
"""

import argparse
import statistics
from array import array
from pathlib import Path

from benchmarks.plays import AFTER_S, a_world
from benchmarks.swept import Setting
from benchmarks.traces import rows
from coldspark.sim.traffic import Traffic
from coldspark.spec.scaling_rules import Knative

START_S = 2.0
SERVICE_S = 1.0
DAY_S = 86_400.0
FEW_MINUTES = 2
"""An app with so few busy minutes and more invocations than that is spread over the day."""
REQUESTS_MAX = 12_000


def arrivals_of(invocations: int, minutes: list[float]) -> Traffic:
    """Return made-up moments for the invocations of one app."""
    if len(minutes) <= FEW_MINUTES < invocations:
        gap_s = DAY_S / invocations
        moments = [n * gap_s for n in range(invocations)]
    else:
        each = max(1.0, invocations / len(minutes))
        step = max(1.0, len(minutes) / invocations)
        moments = [
            minutes[int(minute * step)] + 60.0 * n / each
            for minute in range(int(len(minutes) / step))
            for n in range(round((minute + 1) * each) - round(minute * each))
        ]
    return Traffic(array("d", sorted(moments)), array("d", [SERVICE_S]) * len(moments))


def cold_share(traffic: Traffic) -> float:
    """Return which part of the requests waited for a start under Knative's rule."""
    world = a_world(traffic, START_S, Setting("knative", Knative()))
    world.run(traffic.span_s + AFTER_S)
    return sum(world.runs[0].cold) / len(traffic)


def main() -> None:
    """Print a row for each app, and how far off the rule is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path, required=True)
    folder = parser.parse_args().traces
    minutes: dict[str, list[float]] = {}
    for row in rows(folder / "azure_functions_2019_day1_100apps_active_minutes.csv"):
        minutes.setdefault(row["key"][-8:], []).append(float(row["t_s"]))
    invoked = {
        row["key"][-8:]: int(row["invocations"])
        for row in rows(folder / "azure_functions_2019_day1_100apps.csv")
    }
    off: list[float] = []
    totals = [0.0, 0.0]
    print("| app | requests | busy minutes | cold, measured | cold, simulated |")
    print("|---|---|---|---|---|")
    for row in rows(folder / "femux_knative_measured_vanilla_per_app.csv"):
        app, requests = row["app_name"][-8:], int(row["request_count"])
        if app not in invoked or int(row["failed_request_count"]) or requests < 2:
            continue
        busy = minutes.get(app, [0.0])
        measured = int(row["cold_start_count"]) / requests
        simulated = cold_share(arrivals_of(min(invoked[app], REQUESTS_MAX), busy))
        off.append(abs(simulated - measured))
        totals[0] += measured * requests
        totals[1] += simulated * requests
        print(f"| {app} | {requests:,} | {len(busy):,} | {measured:.1%} | {simulated:.1%} |")
    print(
        f"\n{len(off)} apps: share of cold requests off by {statistics.mean(off):.1%} on average,"
        f" {statistics.median(off):.1%} in the median, {max(off):.1%} at most;"
        f" cold in all {totals[0]:,.0f} measured, {totals[1]:,.0f} simulated"
    )


if __name__ == "__main__":
    main()
