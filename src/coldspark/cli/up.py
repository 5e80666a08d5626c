"""``up`` runs the server in the foreground; ``doctor`` checks what a machine can do."""

from pathlib import Path
from typing import Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli.options import AsJson, Key, Url, client

_UP = """
[bold]Examples[/bold]

coldspark up

coldspark up --simulate T4:1,A10G:2     [dim]rehearse a GPU deployment on a CPU machine[/dim]

coldspark up --machine-cost 0.36 --data /srv/coldspark

coldspark up --host 0.0.0.0     [dim]needs an API key: coldspark keys create --data[/dim]
"""
_DOCTOR = """
[bold]Examples[/bold]

coldspark doctor     [dim]examines this machine; needs no server[/dim]

coldspark doctor --server     [dim]asks the running server about its machine[/dim]

coldspark doctor --json | jq '.checks[] | select(.status != "ok")'
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_UP)(up)
    app.command(epilog=_DOCTOR)(doctor)


def up(
    host: Annotated[
        str | None, typer.Option(help="Address to bind.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind.", show_default="7117")] = None,
    data: Annotated[Path | None, typer.Option(help="Where state is kept.")] = None,
    simulate: Annotated[
        str | None, typer.Option(help="Declare devices that do not exist: T4:1,A10G:2.")
    ] = None,
    machine_cost: Annotated[
        str | None, typer.Option(help="What this machine costs, in dollars an hour.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory for all replicas, such as 8GB.", show_default="all")
    ] = None,
    vcpus: Annotated[
        float | None, typer.Option(help="Processors for all replicas.", show_default="all")
    ] = None,
    template_memory: Annotated[
        str | None,
        typer.Option(help="Memory for templates, such as 4GB.", show_default="a quarter"),
    ] = None,
    standby: Annotated[
        bool | None,
        typer.Option(
            "--standby/--no-standby",
            help="Fork a process ahead from each template.",
            show_default="standby",
        ),
    ] = None,
    weights_limit: Annotated[
        str | None,
        typer.Option(
            help="Downloaded model data kept on the disk, such as 200GB.", show_default="no bound"
        ),
    ] = None,
    routers: Annotated[
        int | None,
        typer.Option(help="Processes that take requests, for several cores.", show_default="1"),
    ] = None,
    body_limit: Annotated[
        str | None, typer.Option(help="Largest request body, such as 64MiB.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    strict_aws: Annotated[
        bool | None,
        typer.Option(
            "--strict-aws/--no-strict-aws",
            help="Limit what AWS limits: bodies, time, memory, concurrency.",
            show_default="no-strict-aws",
        ),
    ] = None,
    retry_grace: Annotated[
        str | None,
        typer.Option(
            help="How long an AWS SDK that hung up is waited for, such as 20s.",
            show_default="10s",
        ),
    ] = None,
    allow_open: Annotated[
        bool, typer.Option(help="Bind a public address although no API key exists.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file with a server table.", show_default="./coldspark.toml"),
    ] = None,
) -> None:
    """Run the server in the foreground. Stop it with Ctrl-C: running requests may finish."""
    from coldspark.config import load_server

    flags: dict[str, Any] = {
        "host": host,
        "port": port,
        "data": None if data is None else str(data),
        "simulate": simulate,
        "machine_cost_per_hour": machine_cost,
        "memory": memory,
        "vcpus": vcpus,
        "template_memory": template_memory,
        "standby": standby,
        "weights_limit": weights_limit,
        "routers": routers,
        "body_limit": body_limit,
        "strict_aws": strict_aws,
        "retry_grace": retry_grace,
        "log_level": log_level,
        "allow_open": allow_open or None,
    }
    configuration = load_server(flags, file=config)
    from coldspark.server.run import serve

    serve(configuration)


def doctor(
    data: Annotated[Path | None, typer.Option(help="The data directory to examine.")] = None,
    simulate: Annotated[str, typer.Option(help="Devices that would be declared.")] = "",
    server: Annotated[
        bool, typer.Option("--server", help="Ask the running server instead.")
    ] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Check what this machine can do and lacks, with the cure. Exits 1 if something is missing."""
    report = client(url, key).doctor() if server else _examined(data, simulate)
    if as_json:
        output.as_json(report)
    else:
        _show(report)
    if any(check["status"] == "missing" for check in report["checks"]):
        raise typer.Exit(1)


def _examined(data: Path | None, simulate: str) -> dict[str, Any]:
    import msgspec

    from coldspark.config import load_server
    from coldspark.errors import InvalidRequest
    from coldspark.node import doctor as runtime_doctor
    from coldspark.node.gpu import devices
    from coldspark.platform import catalogue

    flags = {"data": None if data is None else str(data), "simulate": simulate or None}
    config = load_server(flags)
    known = catalogue.load()
    try:
        declared = devices.simulated(config.simulate, known)
    except ValueError as error:
        raise InvalidRequest(str(error), field="simulate") from error
    question = runtime_doctor.DoctorOptions(
        data=config.data,
        catalogue=known,
        simulated=declared,
        address=(config.host, config.port),
        weights_bytes_max=config.weights_bytes_max,
    )
    report = runtime_doctor.examine(question)
    return {"status": report.status.value, "checks": msgspec.to_builtins(report.checks)}


def _show(report: dict[str, Any]) -> None:
    rows = [(check["name"], check["status"], check["detail"]) for check in report["checks"]]
    output.table(("check", "status", "detail"), rows)
    cures = [(check["name"], check["cure"]) for check in report["checks"] if check.get("cure")]
    if cures:
        output.heading("Cures")
        for name, cure in cures:
            output.out(f"{name}: {cure}")
