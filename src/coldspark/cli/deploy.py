"""``deploy`` shows what would change, then does it; ``rm`` deletes an endpoint."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli import wake as waking
from coldspark.cli.options import AsJson, Key, Name, Url, client, complete_gpu, complete_rule

if TYPE_CHECKING:
    from coldspark.sdk.client import Client
    from coldspark.sdk.deploy import PreparedDeployment

_DEPLOY = """
[bold]Examples[/bold]

coldspark deploy examples/embed     [dim]reads its coldspark.toml, shows the plan, asks[/dim]

coldspark deploy inference.py --name mine --gpu A10G --max 4 --yes

coldspark deploy . --gpu "L4,A10G" --gpu-memory 15GB --dry-run

coldspark deploy . --batch-size 16 --batch-wait 5ms

coldspark deploy . --max 8 --rule knative     [dim]see docs/reference/scaling-rules.md[/dim]

coldspark deploy . --min 1 --env HF_HUB_OFFLINE=1 --wake
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_DEPLOY)(deploy)
    app.command(epilog="[bold]Example[/bold]: coldspark rm chat --yes")(rm)


def deploy(
    source: Annotated[Path, typer.Argument(help="A directory, or one .py file.")],
    name: Annotated[
        str | None, typer.Option(help="Its name.", show_default="the directory's")
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="A10G, A100:4, A10G/0.5, 'L4,A10G', small, large or none.",
            autocompletion=complete_gpu,
        ),
    ] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(help="Device memory that the model needs, such as 15GB.")
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Host memory of a replica.")] = None,
    vcpus: Annotated[float | None, typer.Option(help="Processors of a replica.")] = None,
    min: Annotated[int | None, typer.Option(help="Replicas kept warm, billed idle.")] = None,
    max: Annotated[int | None, typer.Option(help="Most replicas.")] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            help="Requests that one replica serves at a time.",
            show_default="1, or twice the batch size",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Most requests that the handler's predict_batch_fn gets at once."),
    ] = None,
    batch_wait: Annotated[
        str | None,
        typer.Option(
            help="How long a free replica may hold a request back for others: 5ms; 0: not at all.",
            show_default="5ms where there is a batch size",
        ),
    ] = None,
    idle_timeout: Annotated[
        str | None,
        typer.Option(
            help="How long an idle replica is kept ready: 60, 5m, auto.",
            show_default="auto: learned from the traffic",
        ),
    ] = None,
    park_timeout: Annotated[
        str | None,
        typer.Option(
            help="How long it then stays frozen, for the fastest wake; 0: not at all.",
            show_default="auto, or 5 times the idle timeout",
        ),
    ] = None,
    warmth: Annotated[
        str | None,
        typer.Option(
            help="Where idle replicas stay: ready, parked, templated, auto.",
            show_default="auto: as long on each as pays",
            autocompletion=lambda: ["auto", "ready", "parked", "templated"],
        ),
    ] = None,
    wait_value: Annotated[
        float | None,
        typer.Option(
            help="Worth of a caller's second of waiting, in seconds of a ready replica.",
            show_default="10",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="What says how many replicas there shall be; settings go into the file.",
            show_default="learned",
            autocompletion=complete_rule,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="s3://…, file:///… or artifact:…")] = None,
    env: Annotated[list[str] | None, typer.Option(help="K=V; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wake: Annotated[
        bool, typer.Option("--wake", help="Start a replica at once, and wait for it.")
    ] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a directory or a file. Declarative: deploying the same thing again changes nothing."""
    from coldspark.sdk.deploy import plan, prepare

    changes: dict[str, Any] = {
        "name": name,
        "gpu": gpu,
        "gpu_memory": gpu_memory,
        "memory": memory,
        "vcpus": vcpus,
        "model": model,
        "scale": _present(
            min=min,
            max=max,
            concurrency=concurrency,
            batch_size=batch_size,
            batch_wait=batch_wait,
            idle_timeout=idle_timeout,
            park_timeout=park_timeout,
            warmth=warmth,
            wait_value=wait_value,
            rule=rule,
        ),
        "environment": _environment(env or []),
    }
    prepared = prepare(source, _present(**changes))
    connection = client(url, key)
    planned = plan(connection, prepared)
    if not as_json:
        _show_plan(prepared, planned)
    if dry_run:
        if as_json:
            output.as_json(planned)
        return
    if not _is_unchanged(planned):
        _confirm(yes or as_json)
    answer = _apply(connection, prepared, planned)
    if wake:
        command = prepared.definition.get("command")
        ping = None if command is None else command.get("ping_path", "/ping")
        waking.wake(connection, prepared.name, ping)
    if as_json:
        output.as_json(answer)
    elif not wake:
        output.note(f"next: coldspark invoke {prepared.name} --json '{{…}}'")


def rm(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Delete an endpoint. What waits is refused, what runs may finish; its ledger lines stay."""
    connection = client(url, key)
    connection.endpoint(name)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete endpoint {name}?", abort=True)
    connection.remove(name)
    output.note(f"deleted {name}")


def _present(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, {})}


def _environment(pairs: list[str]) -> dict[str, str]:
    split = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} must be NAME=VALUE", param_hint="--env")
        split[name] = value
    return split


def _confirm(is_sure: bool) -> None:
    """Ask a person to confirm; a script without --yes goes on, as its command is explicit."""
    if not is_sure and sys.stdin.isatty():
        typer.confirm("Apply?", abort=True, err=True)


def _apply(
    connection: "Client", prepared: "PreparedDeployment", planned: dict[str, Any]
) -> dict[str, Any]:
    from coldspark.sdk.deploy import apply
    from coldspark.spec.units import format_size

    if _is_unchanged(planned):
        output.note(f"{prepared.name} is up to date")
        return connection.endpoint(prepared.name)
    answer = apply(
        connection, prepared, lambda size: output.note(f"uploading {format_size(size)} of code")
    )
    output.note(f"deployed {prepared.name}")
    return answer


def _is_unchanged(planned: dict[str, Any]) -> bool:
    return planned.get("action") == "unchanged"


def _show_plan(prepared: "PreparedDeployment", planned: dict[str, Any]) -> None:
    from coldspark.spec.units import format_size

    archive = prepared.archive
    output.note(
        f"{prepared.name}: {planned.get('action', 'apply')}"
        f" ({len(archive.files)} files, {format_size(len(archive.content))} packed)"
    )
    for change in planned.get("changes", ()):
        field, old, new = change["field"], change["old"], change["new"]
        output.note(f"  {field}: {_render(field, old)} -> {_render(field, new)}")
    for warning in planned.get("warnings", ()):
        output.note(f"  warning: {warning}")


def _render(field: str, value: Any) -> str:
    text = output.render_field(field, value).replace("\n", ", ")
    return text if len(text) <= 60 else f"{text[:57]}..."
