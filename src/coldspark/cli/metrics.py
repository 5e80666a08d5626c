"""What an endpoint measured: ``metrics``. It asks the server's CloudWatch, as any client would."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli.options import AsJson, Key, Name, Url, client, seconds_of

if TYPE_CHECKING:
    from coldspark.sdk.client import Client

_TARGET = "GraniteServiceVersion20100801.GetMetricData"
_TRAFFIC, _MACHINE = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
_ROWS = (
    ("requests", _TRAFFIC, "Invocations", "Sum", ""),
    ("4xx", _TRAFFIC, "Invocation4XXErrors", "Sum", ""),
    ("5xx", _TRAFFIC, "Invocation5XXErrors", "Sum", ""),
    ("model p50", _TRAFFIC, "ModelLatency", "p50", "us"),
    ("model p99", _TRAFFIC, "ModelLatency", "p99", "us"),
    ("overhead p99", _TRAFFIC, "OverheadLatency", "p99", "us"),
    ("cold starts", _TRAFFIC, "ModelSetupTime", "SampleCount", ""),
    ("setup p99", _TRAFFIC, "ModelSetupTime", "p99", "us"),
    ("in flight, each", _TRAFFIC, "ConcurrentRequestsPerModel", "Maximum", ""),
    ("cpu", _MACHINE, "CPUUtilization", "Average", "%"),
    ("memory", _MACHINE, "MemoryUtilization", "Maximum", "%"),
    ("gpu", _MACHINE, "GPUUtilization", "Average", "%"),
    ("gpu memory", _MACHINE, "GPUMemoryUtilization", "Maximum", "%"),
)
"""Label, namespace, metric, statistic, unit."""
_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS_MAX = 60
_PERIODS_S = (60, 300, 900, 3_600, 21_600, 86_400)
_LAST_MAX_S = 455 * 86_400
_ASK_TIMEOUT_S = 30.0


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog="[bold]Example[/bold]: coldspark metrics chat --last 6h")(metrics)


def metrics(
    name: Name,
    last: Annotated[
        str, typer.Option("--last", help="How far back to look, such as 30m, 6h or 7d.")
    ] = "1h",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what an endpoint measured, each metric with its course over time."""
    last_s = seconds_of(last, "--last")
    if not 60 <= last_s <= _LAST_MAX_S:
        raise typer.BadParameter(f"{last} must lie in 1m..455d", param_hint="--last")
    api = client(url, key)
    variants = [variant["name"] for variant in api.endpoint(name)["variants"]]
    period_s = next((one for one in _PERIODS_S if last_s / one <= _COLUMNS_MAX), _PERIODS_S[-1])
    end_s = (_now_s() // period_s + 1) * period_s
    columns = min(_COLUMNS_MAX * 8, max(1, round(last_s / period_s)))
    times = [end_s - (columns - index) * period_s for index in range(columns)]
    found = {one: _measured(api, name, one, period_s, times) for one in variants}
    if as_json:
        output.as_json({"endpoint": name, "period_s": period_s, "variants": found})
        return
    for variant, rows in found.items():
        output.note(f"{name}/{variant}: {columns} periods of {period_s} s")
        _table(rows, times)


def _now_s() -> int:
    from coldspark import clock

    return clock.wall_ms() // 1_000


def _measured(
    api: "Client", endpoint: str, variant: str, period_s: int, times: Sequence[int]
) -> list[dict[str, Any]]:
    """Return the metrics that have values, each as rows of seconds and value."""
    dimensions = [
        {"Name": "EndpointName", "Value": endpoint},
        {"Name": "VariantName", "Value": variant},
    ]
    queries = [
        {
            "Id": f"m{index}",
            "MetricStat": {
                "Metric": {"Namespace": space, "MetricName": metric, "Dimensions": dimensions},
                "Period": period_s,
                "Stat": statistic,
            },
        }
        for index, (_, space, metric, statistic, _) in enumerate(_ROWS)
    ]
    query = {
        "MetricDataQueries": queries,
        "StartTime": times[0],
        "EndTime": times[-1] + period_s,
        "ScanBy": "TimestampAscending",
    }
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": _TARGET}
    answer = api.ask(
        "POST", "/", body=json.dumps(query).encode(), headers=headers, timeout_s=_ASK_TIMEOUT_S
    )
    return [
        {
            "label": label,
            "metric": metric,
            "statistic": statistic,
            "unit": unit,
            "values": [
                [int(at_s), value]
                for at_s, value in zip(one["Timestamps"], one["Values"], strict=True)
            ],
        }
        for (label, _, metric, statistic, unit), one in zip(
            _ROWS, answer["MetricDataResults"], strict=True
        )
        if one["Values"]
    ]


def _table(rows: Sequence[dict[str, Any]], times: Sequence[int]) -> None:
    if not rows:
        output.note("nothing was measured in that time")
        return
    cells = []
    for row in rows:
        values = dict(row["values"])
        known = list(values.values())
        total = sum(known) if row["statistic"] in ("Sum", "SampleCount") else max(known)
        newest = _amount(known[-1], row["unit"])
        course = sparkline([values.get(at_s) for at_s in times])
        cells.append((row["label"], newest, _amount(total, row["unit"]), course))
    output.table(("metric", "newest", "sum or most", "course"), cells)


def _amount(value: float, unit: str) -> str:
    if unit == "us":
        return f"{value / 1e6:.2f} s" if value >= 1e6 else f"{value / 1e3:.1f} ms"
    return f"{value:.1f} %" if unit == "%" else f"{value:g}"


def sparkline(values: Sequence[float | None]) -> str:
    """Return a letter per period, by its share of the largest; blank where nothing is known."""
    most = max((value for value in values if value is not None), default=0.0)
    top = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[round(top * value / most) if most > 0 else 0]
        for value in values
    )
