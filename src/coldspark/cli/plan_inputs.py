"""Read the inputs of ``coldspark plan``: traffic from a file, a ledger or a pattern; durations."""

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from coldspark.cli.options import seconds_of, size_of
from coldspark.errors import InvalidRequest

if TYPE_CHECKING:
    from coldspark.sdk.client import Client
    from coldspark.sim.traces import RecordedTraffic
    from coldspark.sim.traffic import Durations
    from coldspark.spec.messages import ScaleBoundsChanged
    from coldspark.spec.scheduled_scaling import ScheduledWindow
    from coldspark.spec.types import ScalePolicy

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(s|m|min|h|d|day|week|month)\s*")
_AN_HOUR = {
    "s": 3600.0,
    "m": 60.0,
    "min": 60.0,
    "h": 1.0,
    "d": 1 / 24,
    "day": 1 / 24,
    "week": 1 / 168,
    "month": 1 / 720,
}
"""A month is 30 days, as in every sum of a plan."""
_GUIDE_GPUS = ("T4", "A10G", "A100")
_LINES_MAX = 200_000
_DAYS_MAX = 400
"""As long as a trace may be."""
_MEASURED_LEAST = 3


@dataclass(slots=True, kw_only=True)
class PlanInputs:
    """The traffic and what is known of its endpoint; ``remarks`` lists assumptions."""

    recorded: "RecordedTraffic"
    start: "Durations | None" = None
    thaw: "Durations | None" = None
    gpu: str | None = None
    is_cpu: bool = False
    memory_bytes: int | None = None
    concurrency: int | None = None
    windows: tuple["ScheduledWindow", ...] = ()
    began_ms: int | None = None
    """When the traffic's time 0 was; None: at no known moment."""
    remarks: list[str] = field(default_factory=list)


def durations_of(text: str, option: str) -> "Durations":
    """Read ``2s``, or ``2s..9s``: the median and the 95th percentile of a log-normal."""
    from coldspark.sim.traffic import Durations

    median, dots, p95 = text.partition("..")
    median_s = seconds_of(median, option)
    try:
        if not dots:
            return Durations.fixed(median_s)
        return Durations.lognormal(median_s, seconds_of(p95, option))
    except ValueError as error:
        raise InvalidRequest(f"{option} {text}: {error}") from None


def from_trace(file: Path, service: "Durations | None", key: str | None, seed: int) -> PlanInputs:
    """Read a CSV file."""
    from coldspark.sim.traces import read_trace

    try:
        with _opened(file) as lines:
            found = read_trace(lines, service=service, key=key, seed=seed)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InvalidRequest(f"--trace {file} is gzip that is cut off or damaged") from None
    except OSError as error:
        raise InvalidRequest(f"--trace {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"--trace {file} is no text in UTF-8: is it a CSV file?") from None
    except (ValueError, csv.Error) as error:
        raise InvalidRequest(
            f"--trace {file}: {error}".replace("(service)", "(--service)")
        ) from None
    inputs = PlanInputs(recorded=found)
    if found.durations_drawn:
        count, total = found.durations_drawn, len(found.traffic)
        inputs.remarks.append(f"assumed: {count:,} of {total:,} durations, drawn from --service")
    return inputs


def _opened(file: Path) -> IO[str]:
    """Open a text, compressed by gzip or not: its first bytes tell."""
    with file.open("rb") as begun:
        is_gzip = begun.read(2) == b"\x1f\x8b"
    if is_gzip:
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def from_pattern(
    rate: str, hours: str, burst: float, days: float, service: "Durations | None", seed: int
) -> PlanInputs:
    """Make traffic up from a described pattern."""
    from coldspark.sim.traces import REQUESTS_MAX, RecordedTraffic
    from coldspark.sim.traffic import synthetic_traffic

    if service is None:
        raise InvalidRequest("say how long a request takes: --service 2s, or --service 2s..9s")
    per_hour, between = _per_hour(rate), _hours(hours)
    if not 0 < days <= _DAYS_MAX:
        raise InvalidRequest(f"--days {days:g} must be over 0 and at most {_DAYS_MAX}")
    if not 1 <= burst < math.inf:
        raise InvalidRequest(f"--burst {burst:g} must be at least 1, and finite")
    if per_hour * days * (between[1] - between[0]) > REQUESTS_MAX:
        raise InvalidRequest(f"--rate {rate} over --days {days:g}: over {REQUESTS_MAX:,} requests")
    try:
        traffic = synthetic_traffic(
            rate_per_hour=per_hour,
            days=days,
            hours=between,
            burst=burst,
            service=service,
            seed=seed,
        )
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    if not len(traffic):
        raise InvalidRequest(f"--rate {rate} over --days {days:g} makes no request: raise one")
    inputs = PlanInputs(recorded=RecordedTraffic(traffic, days * 86_400.0))
    arrivals = "Poisson" if burst == 1 else f"Poisson, in bursts of {burst:g} on average"
    inputs.remarks.append(f"made up: requests arrive by chance ({arrivals}, seed {seed})")
    return inputs


def from_endpoint(
    client: "Client", name: str, last: str, service: "Durations | None"
) -> PlanInputs:
    """Take the ledger of a live endpoint: arrivals, busy times, and what starts took."""
    from coldspark import clock
    from coldspark.sim.traces import RecordedTraffic, to_traffic

    endpoint = client.endpoint(name)
    now_ms = clock.wall_ms()
    since_ms = max(now_ms - round(seconds_of(last, "--last") * 1000), endpoint["created_ms"])
    lines = client.ledger(name, since_ms=since_ms, lines_max=_LINES_MAX)
    served = [line for line in lines if line["replica"] is not None]
    if not served:
        raise InvalidRequest(f"endpoint {name} served no request in the last {last}")
    # The oldest may lie before the interval: those are all that were read.
    first_ms = min(since_ms, min(line["arrived_ms"] for line in served))
    rows = [((line["arrived_ms"] - first_ms) / 1000, line["busy_ms"] / 1000) for line in served]
    traffic = to_traffic([*rows], service, 0)
    period_s = max(1.0, traffic.span_s, (now_ms - first_ms) / 1000)
    variant = endpoint["variants"][0]
    inputs = PlanInputs(recorded=RecordedTraffic(traffic, period_s), began_ms=first_ms)
    _read_variant(inputs, variant)
    _measure_starts(inputs, served)
    if len(endpoint["variants"]) > 1:
        inputs.remarks.append(
            f"all variants' requests together, on what variant {variant['name']} asks for"
        )
    if len(lines) >= _LINES_MAX:
        inputs.remarks.append(f"only the newest {_LINES_MAX:,} requests were read")
    return inputs


def _read_variant(inputs: PlanInputs, variant: dict[str, Any]) -> None:
    gpu = variant["gpu"]
    inputs.gpu = None if gpu is None else re.split(r"[,:/]", gpu)[0]
    inputs.is_cpu = gpu is None
    inputs.memory_bytes = variant["memory"]
    inputs.concurrency = variant["scale"]["concurrency"]
    inputs.windows = _windows(variant["scale"].get("windows", ()))


def _windows(fields: Iterable[dict[str, Any]]) -> tuple["ScheduledWindow", ...]:
    from coldspark.spec.scheduled_scaling import ScheduledWindow

    return tuple(
        ScheduledWindow(
            cron=each["cron"],
            time_zone=each["time_zone"],
            lasts_s=each["lasts_s"],
            replicas_min=each["min"],
            replicas_max=each["max"],
        )
        for each in fields
    )


def windows_of(
    texts: Sequence[str] | None, bounds: "ScalePolicy", inputs: PlanInputs
) -> tuple[tuple["ScheduledWindow", ...], tuple[tuple[float, "ScaleBoundsChanged"], ...]]:
    """Return the windows to try, those named or the endpoint's, and their bounds changes."""
    from dataclasses import replace

    from coldspark.platform.scheduled_scaling import bounds_events, read_window

    try:
        windows = tuple(map(read_window, texts)) if texts else inputs.windows
        scale = replace(bounds, windows=windows)
    except ValueError as error:
        raise InvalidRequest(f"--window: {error}") from None
    if not windows:
        return (), ()
    began_ms = _began_ms(windows[0], inputs)
    until_ms = began_ms + round(inputs.recorded.period_s * 1000)
    found = bounds_events(scale, began_ms, until_ms)
    return windows, tuple(((at_ms - began_ms) / 1000, change) for at_ms, change in found)


def _began_ms(window: "ScheduledWindow", inputs: PlanInputs) -> int:
    """Return when the traffic began; made-up traffic and traces do on a Monday at midnight."""
    from datetime import datetime

    from coldspark.platform.schedule_expressions import zone_of

    if inputs.began_ms is not None:
        return inputs.began_ms
    inputs.remarks.append(
        f"assumed: the traffic begins on a Monday at 0:00 in {window.time_zone}, in winter"
    )
    monday = datetime(2026, 1, 5, tzinfo=zone_of(window.time_zone))
    return round(monday.timestamp() * 1000)


def _measure_starts(inputs: PlanInputs, lines: Iterable[dict[str, Any]]) -> None:
    """Take each replica's start from the request that waited the longest for it."""
    from coldspark.sim.traffic import Durations

    starts: dict[str, float] = {}
    thaws: list[float] = []
    for line in lines:
        fall = line["waterfall"]
        waited_s = sum(fall[f"{stage}_us"] for stage in ("fetched", "booted", "loaded")) / 1e6
        if not line["is_cold"] or not waited_s:
            continue
        if fall["booted_us"]:
            starts[line["replica"]] = max(waited_s, starts.get(line["replica"], 0.0))
        else:
            thaws.append(waited_s)
    if starts:
        inputs.start = Durations(list(starts.values()))
        inputs.remarks.append(f"measured here: {len(starts)} starts")
        if len(starts) < _MEASURED_LEAST:
            inputs.remarks.append("few starts were measured: --start says what else to take")
    if thaws:
        inputs.thaw = Durations(thaws)
        inputs.remarks.append(f"measured here: {len(thaws)} thaws")


def gpus_of(text: str | None, gpu_memory: str | None, inputs: PlanInputs) -> tuple[str, ...]:
    """Return the types to compare: those named, else the endpoint's, else the guide's that fit."""
    types = _fitting(text, gpu_memory, inputs)
    if inputs.is_cpu and types:
        inputs.remarks.append("assumed: a request takes as long on a GPU as here on CPU")
    elif len(types) > 1 or (inputs.gpu is not None and types != (inputs.gpu,)):
        inputs.remarks.append("assumed: a request takes as long on every type")
    return types


def _fitting(text: str | None, gpu_memory: str | None, inputs: PlanInputs) -> tuple[str, ...]:
    from coldspark.platform import catalogue
    from coldspark.spec.units import format_size

    known = catalogue.load()
    if text is None and inputs.is_cpu:
        return ()
    defaults = [inputs.gpu] if inputs.gpu else _GUIDE_GPUS
    names = defaults if text is None else [part.strip() for part in text.split(",")]
    if [name.lower() for name in names] in (["none"], ["cpu"]):
        return ()
    types = []
    for name in names:
        found = known.gpu(name)
        if found is None:
            near = ", ".join(known.near_names(name)) or ", ".join(_GUIDE_GPUS)
            raise InvalidRequest(f"--gpus: type {name!r} is not known: did you mean {near}?")
        types.append(found)
    if gpu_memory is None:
        return tuple(dict.fromkeys(one.name for one in types))
    need = size_of(gpu_memory, "--gpu-memory")
    for one in types:
        if one.usable_bytes < need:
            had = format_size(one.usable_bytes)
            inputs.remarks.append(f"left out: {one.name}, of whose memory {had} can be used")
    fitting = [one.name for one in types if one.usable_bytes >= need]
    if not fitting:
        smallest = known.smallest_that_fits(need)
        cure = f"the smallest that does is {smallest.name}" if smallest else "no single type does"
        raise InvalidRequest(f"--gpu-memory {gpu_memory} fits none of {', '.join(names)}: {cure}")
    return tuple(dict.fromkeys(fitting))


def start_of(text: str | None, gpus: Sequence[str], inputs: PlanInputs) -> "Durations":
    """Return what a start here takes: as given, else as measured, else as the guide has it."""
    from coldspark.sim.platforms import GUIDE_DATE, GUIDE_START_S, LAMBDA, uniform

    if text is not None:
        return durations_of(text, "--start")
    if inputs.start is not None:
        return inputs.start
    if not gpus:
        low, high = LAMBDA.start_s["CPU"]
        inputs.remarks.append(f"assumed: a start takes {low:g}-{high:g} s; pass --start")
        return uniform(low, high)
    low, high = GUIDE_START_S.get(gpus[0], GUIDE_START_S["A10G"])
    inputs.remarks.append(
        f"assumed: a start here takes {_range(low, high)} s, as the guide of {GUIDE_DATE} has it"
        f" for {gpus[0] if gpus[0] in GUIDE_START_S else 'A10G'}; pass --start with your own"
    )
    return uniform(low, high)


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def _per_hour(text: str) -> float:
    match = _RATE.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"--rate {text!r} is not understood: write such as 100/h or 1000/day")
    found = float(match[1]) * _AN_HOUR[match[2]]
    if not 0 < found < math.inf:
        raise InvalidRequest(f"--rate {text} must be over 0 and finite: write such as 100/h")
    return found


def _hours(text: str) -> tuple[float, float]:
    first, dash, last = text.partition("-")
    try:
        if not dash:
            raise ValueError
        return float(first), float(last)
    except ValueError:
        raise InvalidRequest(f"--hours {text!r} is not understood: write such as 8-18") from None
