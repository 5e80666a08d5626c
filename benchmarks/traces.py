"""Recorded traffic for the simulator, read from a folder of CSV files.

Request files have ``arrival_s,input_tokens,output_tokens,duration_s,key``; window files
``t_s,window_s,count`` (or ``tokens``, or ``busy_containers``). What a file does not say is made up,
and stated here:

- a language model's request takes 0.5 s and 0.02 s for every output token;
- everything else without a duration takes a log-normal time, median 1 s, 95th percentile 5 s;
- requests of a window arrive at random moments of it, drawn by seed 0;
- a minute of BurstGPT holds its tokens divided by 700 requests;
- a minute of an Azure function holds one request for each busy container.

No trace is longer than ``requests_max`` requests: the rest of it is left out.
"""

import csv
import random
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from coldspark.sim.traffic import Durations, Traffic, spread_over_windows

REQUESTS_MIN = 100
_FIRST_S, _TOKEN_S = 0.5, 0.02
_TOKENS_PER_REQUEST = 700
SERVICE = Durations.lognormal(1.0, 5.0)

Row = dict[str, str]


def traces(
    folder: Path, requests_max: int, *, is_quick: bool = False
) -> Iterator[tuple[str, Traffic]]:
    """Yield every trace under its name; the quick ones are the largest few of each file."""
    few = 3 if is_quick else 100
    most = requests_max
    yield from _by_key("alibaba", folder / "alibaba_genai_2026_requests.csv", few, most)
    yield from _by_key("azure-llm", folder / "azure_llm_2023_conv.csv", 0, most)
    yield from _by_key("mooncake", folder / "mooncake_2025_conversation.csv", 0, most)
    yield from _by_key("servegen", folder / "servegen_2025_mm-image_arrivals_24h.csv", few, most, 3)
    yield from _by_key("azure-2021", folder / "azure_functions_2021_sample199.csv", 0, most)
    for name in ("nab_aws_elb_requests", "nab_twitter_CRM", "nab_twitter_GOOG"):
        yield name, _windows(folder / f"{name}.csv", "count", 1.0, most)
    minutes = folder / "burstgpt_week1_minute_tokens.csv"
    yield "burstgpt", _windows(minutes, "tokens", 1 / _TOKENS_PER_REQUEST, most)
    yield from _functions(folder / "azure_functions_2019_day1_100apps_active_minutes.csv", few)


def rows(path: Path) -> list[Row]:
    """Return the lines of a CSV file by its header."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _by_key(
    name: str, path: Path, few: int, most: int, start: int = 0
) -> Iterator[tuple[str, Traffic]]:
    """Yield the whole of a request file, then the largest of its keys."""
    found = rows(path)
    yield name, _requests(found, most)
    counts = Counter(row["key"] for row in found)
    for key, count in counts.most_common()[start : start + few]:
        if count >= REQUESTS_MIN:
            yield f"{name} {key}", _requests([row for row in found if row["key"] == key], most)


def _requests(found: list[Row], most: int) -> Traffic:
    chance = random.Random(0)
    found = sorted(found, key=lambda row: float(row["arrival_s"]))[:most]
    begin_s = float(found[0]["arrival_s"])
    arrivals = array("d", (float(row["arrival_s"]) - begin_s for row in found))
    return Traffic(arrivals, array("d", (_duration_s(row, chance) for row in found)))


def _duration_s(row: Row, chance: random.Random) -> float:
    if row["duration_s"]:
        return max(0.001, float(row["duration_s"]))
    if row["output_tokens"]:
        return _FIRST_S + _TOKEN_S * float(row["output_tokens"])
    return SERVICE.draw(chance)


def _windows(path: Path, column: str, share: float, most: int) -> Traffic:
    """Return the requests of a window file, as many as are allowed."""
    chance = random.Random(0)
    windows, total = [], 0
    for row in rows(path):
        exact = float(row[column]) * share
        count = int(exact) + (chance.random() < exact % 1)
        if total + count > most:
            break
        total += count
        windows.append((float(row["t_s"]), float(row["window_s"]), count))
    return spread_over_windows(windows, SERVICE)


def _functions(path: Path, few: int) -> Iterator[tuple[str, Traffic]]:
    found = rows(path)
    minutes = Counter(row["key"] for row in found)
    # Those that are busy in every minute say nothing of idling: from the middle of the list.
    for key, count in islice((item for item in minutes.most_common() if item[1] < 1000), few):
        if count >= REQUESTS_MIN:
            windows = [
                (float(row["t_s"]), float(row["window_s"]), int(float(row["busy_containers"])))
                for row in found
                if row["key"] == key
            ]
            yield f"azure-2019 {key}", spread_over_windows(windows, SERVICE)
