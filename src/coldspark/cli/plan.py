"""``plan``: what this traffic would cost here and elsewhere, and how to scale for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli.options import AsJson, Key, Url, client, complete_endpoint, complete_gpu, size_of
from coldspark.errors import InvalidRequest

if TYPE_CHECKING:
    from coldspark.sim.executor import WorkExecutor
    from coldspark.sim.frontier import Objective
    from coldspark.sim.plan_request import PlanRequest
    from coldspark.spec.types import ScalePolicy

_TRAFFIC, _MODEL, _WISH, _ANSWER = "Traffic", "Model and machine", "What is wanted", "Answer"
_SEEDS = ((4_000, 5), (10_000, 3))
"""Up to so many requests each policy is played so often; longer traces are played once."""
_CREW_LEAST = 150_000
"""Played requests below which one process is done before others have begun."""
_SOURCES = "--trace FILE, --endpoint NAME or --rate 100/h"
_PLAN = """
[bold]Examples[/bold]

coldspark plan --rate 1000/day --service 2s --gpus A10G     [dim]the guide's example[/dim]

coldspark plan --rate 100/h --hours 8-16 --burst 5 --days 7 --service 2s..9s --gpu-memory 15GB

coldspark plan --endpoint chat --last 7d --html plan.html     [dim]its own ledger[/dim]

coldspark plan --trace requests.csv --service 3s --start 20s..45s --max 8 --p95 5s

coldspark plan --trace requests.csv --wait-cost 0.001 --json

coldspark plan --rate 500/day --hours 8-18 --service 2s --window "0 8 * * MON-FRI 10h min=1"
"""


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog=_PLAN)(plan)


def plan(
    trace: Annotated[
        Path | None,
        typer.Option(
            help="CSV with arrival_s and duration_s, or t_s, window_s and count.",
            rich_help_panel=_TRAFFIC,
        ),
    ] = None,
    trace_key: Annotated[
        str | None,
        typer.Option(help="Only the trace's rows of this key.", rich_help_panel=_TRAFFIC),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="A live endpoint: its ledger is the traffic.",
            autocompletion=complete_endpoint,
            rich_help_panel=_TRAFFIC,
        ),
    ] = None,
    last: Annotated[
        str, typer.Option(help="How far back its ledger is read.", rich_help_panel=_TRAFFIC)
    ] = "7d",
    rate: Annotated[
        str | None,
        typer.Option(help="Made-up traffic: 100/h, 1000/day, 2/s.", rich_help_panel=_TRAFFIC),
    ] = None,
    hours: Annotated[
        str, typer.Option(help="Within these hours of each day.", rich_help_panel=_TRAFFIC)
    ] = "0-24",
    burst: Annotated[
        float, typer.Option(help="So many at once, on average.", rich_help_panel=_TRAFFIC)
    ] = 1.0,
    days: Annotated[float, typer.Option(help="For so many days.", rich_help_panel=_TRAFFIC)] = 7.0,
    service: Annotated[
        str | None,
        typer.Option(
            help="How long a request takes: 2s, or median..p95 such as 2s..9s.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="How long a start takes here: 40s, or median..p95.",
            show_default="measured, or the guide's",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    thaw: Annotated[
        str | None,
        typer.Option(
            help="How long waking a parked replica takes; without it none is parked.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            help="Types to compare, such as A10G,A100; none: it runs on CPU.",
            show_default="the endpoint's, or T4,A10G,A100",
            autocompletion=complete_gpu,
            rich_help_panel=_MODEL,
        ),
    ] = None,
    gpu_memory: Annotated[
        str | None,
        typer.Option(
            help="What the model needs: types with less are left out.", rich_help_panel=_MODEL
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Host memory of a replica: what Lambda bills.",
            show_default="the endpoint's, or 1GiB",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    machine_cost: Annotated[
        str,
        typer.Option(
            help="Dollars an hour of your machine, for each replica that it can hold.",
            rich_help_panel=_MODEL,
        ),
    ] = "0.76",
    min: Annotated[
        int,
        typer.Option(help="Replicas kept warm, where that is offered.", rich_help_panel=_WISH),
    ] = 0,
    max: Annotated[int, typer.Option(help="Most replicas.", rich_help_panel=_WISH)] = 4,
    window: Annotated[
        list[str] | None,
        typer.Option(
            help="Also try another floor at times: '0 8 * * MON-FRI@Europe/Berlin 10h min=2'.",
            show_default="the endpoint's",
            rich_help_panel=_WISH,
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            help="Requests that one replica serves at a time.",
            show_default="the endpoint's, or 1",
            rich_help_panel=_WISH,
        ),
    ] = None,
    p95: Annotated[
        str | None,
        typer.Option(
            help="The cheapest policy with 95 % of requests within this.", rich_help_panel=_WISH
        ),
    ] = None,
    wait_cost: Annotated[
        float | None,
        typer.Option(
            help="The least of money and waiting, at so many dollars a second.",
            rich_help_panel=_WISH,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed, the same plan.", rich_help_panel=_WISH)
    ] = 0,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Play each policy so often, on traffic drawn anew: how sure its figures are.",
            show_default="5; 3 over 4,000 requests, 1 over 10,000",
            rich_help_panel=_WISH,
        ),
    ] = None,
    break_even: Annotated[
        bool,
        typer.Option(
            "--break-even/--no-break-even",
            help="Search where dedicated instances become cheaper.",
            rich_help_panel=_ANSWER,
        ),
    ] = True,
    html: Annotated[
        Path | None,
        typer.Option(help="Write it as one self-contained HTML page.", rich_help_panel=_ANSWER),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(help="Write the frontier as an SVG picture.", rich_help_panel=_ANSWER),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            help="Write the frontier as a PNG picture; needs matplotlib, the extra plot.",
            rich_help_panel=_ANSWER,
        ),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Plan: replay traffic through the production scaler in virtual time, here and elsewhere.

    It prints what each platform would cost, how long callers would wait, from which rate on
    dedicated instances are cheaper, and the scaling policy to deploy.
    """
    from coldspark.cli import plan_inputs
    from coldspark.cli.plan_files import PlanFiles
    from coldspark.cli.plan_tables import show
    from coldspark.sim.plan_request import PlanRequest

    _check_sources(trace, endpoint, rate)
    files = PlanFiles(html=html, svg=svg, png=png)
    files.check()
    took = None if service is None else plan_inputs.durations_of(service, "--service")
    if trace is not None:
        inputs = plan_inputs.from_trace(trace, took, trace_key, seed)
    elif endpoint is not None:
        inputs = plan_inputs.from_endpoint(client(url, key), endpoint, last, took)
    else:
        inputs = plan_inputs.from_pattern(rate or "", hours, burst, days, took, seed)
    types = plan_inputs.gpus_of(gpus, gpu_memory, inputs)
    slots = inputs.concurrency or 1 if concurrency is None else concurrency
    bounds = _bounds(min, max, slots)
    windows, changes = plan_inputs.windows_of(window, bounds, inputs)
    plays = _seeds(seeds, len(inputs.recorded.traffic), has_windows=bool(windows))
    question = PlanRequest(
        traffic=inputs.recorded.traffic,
        period_s=inputs.recorded.period_s,
        gpus=types,
        start=plan_inputs.start_of(start, types, inputs),
        thaw=inputs.thaw if thaw is None else plan_inputs.durations_of(thaw, "--thaw"),
        bounds=bounds,
        windows=windows,
        bounds_changes=changes,
        own_hour_nanos=_nanos(machine_cost),
        memory_bytes=size_of(memory, "--memory") if memory else inputs.memory_bytes or 2**30,
        objective=_objective(p95, wait_cost),
        seed=seed,
        seeds=plays,
        with_break_even=break_even,
    )
    answer = _answer(question, inputs.remarks)
    files.write(answer)
    if as_json:
        output.as_json(answer)
    else:
        show(answer)


def _check_sources(trace: Path | None, endpoint: str | None, rate: str | None) -> None:
    given = [each for each in (trace, endpoint, rate) if each is not None]
    if len(given) != 1:
        raise InvalidRequest(f"say where the traffic comes from, once: {_SOURCES}")


def _bounds(least: int, most: int, concurrency: int) -> "ScalePolicy":
    from coldspark.spec.types import ScalePolicy

    try:
        return ScalePolicy(replicas_min=least, replicas_max=most, concurrency=concurrency)
    except ValueError as error:
        raise InvalidRequest(str(error).replace("replicas_", "--")) from None


def _seeds(given: int | None, requests: int, *, has_windows: bool) -> int:
    from coldspark.sim.bootstrap import SEEDS_MAX

    if has_windows:
        # Traffic that might have come as well is made of days in another order.
        if given not in (None, 1):
            raise InvalidRequest(
                f"--seeds {given} moves days of the week about, which --window relies on: "
                "leave one of them out"
            )
        return 1
    if given is None:
        return next((seeds for most, seeds in _SEEDS if requests <= most), 1)
    if not 1 <= given <= SEEDS_MAX:
        raise InvalidRequest(f"--seeds {given} must lie in 1..{SEEDS_MAX}")
    return given


def _objective(p95: str | None, wait_cost: float | None) -> "Objective":
    from coldspark.cli.options import seconds_of
    from coldspark.sim.frontier import Objective

    if wait_cost is not None and not 0 <= wait_cost < float("inf"):
        raise InvalidRequest(f"--wait-cost {wait_cost:g} must be dollars, 0 or more, such as 0.001")
    try:
        return Objective(
            p95_s=None if p95 is None else seconds_of(p95, "--p95"), wait_dollars_per_s=wait_cost
        )
    except ValueError as error:
        raise InvalidRequest(str(error)) from None


def _nanos(dollars: str) -> int:
    from decimal import DecimalException

    from coldspark.billing import prices

    try:
        found = prices.nanos(dollars)
    except (ValueError, DecimalException):
        found = -1
    if found < 0:
        raise InvalidRequest(f"--machine-cost {dollars!r} must be dollars such as 0.76")
    return found


def _answer(question: "PlanRequest", remarks: list[str]) -> dict[str, Any]:
    from coldspark.billing import prices
    from coldspark.sim.plan_json import to_json
    from coldspark.sim.planner import Planner

    books = {name: prices.load(name) for name in prices.names()}
    with _progress() as on_step, _executor(question) as executor:
        return to_json(Planner(question, books, on_step, executor).plan(), remarks)


@contextmanager
def _executor(question: "PlanRequest") -> Iterator["WorkExecutor"]:
    """Give long work to a process for each core."""
    from coldspark.cli.plan_processes import ProcessPool, cores
    from coldspark.sim.executor import SerialExecutor
    from coldspark.sim.planner import simulation_count

    if cores() == 1 or simulation_count(question) * len(question.traffic) < _CREW_LEAST:
        yield SerialExecutor()
        return
    with ProcessPool(min(cores(), simulation_count(question))) as executor:
        yield executor


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar to a person; nothing in a pipe."""
    import sys

    if not output.is_terminal(sys.stderr):
        yield lambda done, total, what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")

        def advance(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield advance
