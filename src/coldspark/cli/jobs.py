"""``jobs``: asynchronous requests, and the secret that signs their webhooks."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldspark.cli import output as render
from coldspark.cli.error_handling import ErrorHandlingGroup
from coldspark.cli.options import AsJson, Key, OptionalName, Url, client
from coldspark.cli.times import age
from coldspark.errors import ColdsparkError

if TYPE_CHECKING:
    from coldspark.sdk.client import Answer, Client

_LS = """
[bold]Examples[/bold]

coldspark jobs ls transcribe --state running

coldspark jobs ls --json | jq -r '.jobs[] | select(.state == "failed") | .id'
"""
_STATES = ("accepted", "running", "completed", "failed", "expired", "cancelled")


def complete_job(incomplete: str) -> list[str]:
    """Ask the server for the newest jobs; none when it does not answer at once."""
    try:
        answer = client(None, None).ask("GET", "/v1/jobs", timeout_s=0.5)
    except ColdsparkError:
        return []
    ids = [row["id"] for row in (answer or {}).get("jobs", ())]
    return [id for id in ids if id.startswith(incomplete)]


def complete_state(incomplete: str) -> list[str]:
    """Return the states of jobs."""
    return [state for state in _STATES if state.startswith(incomplete)]


JobId = Annotated[str, typer.Argument(help="The job's id.", autocompletion=complete_job)]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(
        cls=ErrorHandlingGroup, no_args_is_help=True, help="Look at jobs, and cancel them."
    )
    group.command("ls", epilog=_LS)(list_jobs)
    group.command("get", epilog="[bold]Example[/bold]: coldspark jobs get JOB --wait")(get)
    group.command("cancel", epilog="[bold]Example[/bold]: coldspark jobs cancel JOB")(cancel)
    group.command(
        "signing-secret", epilog="[bold]Example[/bold]: coldspark jobs signing-secret --data DIR"
    )(signing_secret)
    app.add_typer(group, name="jobs")


def list_jobs(
    name: OptionalName = None,
    state: Annotated[
        str | None, typer.Option(help="Only in this state.", autocompletion=complete_state)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many.", min=1, max=1000)] = 50,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    answer = client(url, key).jobs(name, state=state, limit=limit)
    if as_json:
        render.as_json(answer)
        return
    rows = answer.get("jobs", [])
    if not rows:
        render.note("no jobs: coldspark invoke NAME --async")
        return
    headers = ("id", "endpoint", "state", "attempts", "accepted", "message")
    render.table(headers, [_row(row) for row in rows])


def get(
    job: JobId,
    wait: Annotated[bool, typer.Option(help="Until it has ended.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Its answer.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show a job; with --output, write its answer to a file."""
    server = client(url, key)
    found = server.wait_for_job(job) if wait else server.job(job)
    if output is not None:
        with output.open("wb") as target:
            for chunk in server.job_output(job).chunks():
                target.write(chunk)
    if as_json:
        render.as_json(found)
        return
    shown = {name: value for name, value in found.items() if name != "log_tail"}
    for name in ("accepted_ms", "started_ms", "finished_ms"):
        if (at_ms := shown.pop(name, None)) is not None:
            shown[name.removesuffix("_ms")] = age(at_ms)
    render.pairs(shown)
    for line in found.get("log_tail", ()):
        render.note(f"  | {line}")


def cancel(job: JobId, url: Url = None, key: Key = None) -> None:
    """Cancel a job that waits or runs."""
    client(url, key).cancel_job(job)
    render.note(f"cancelled {job}")


def signing_secret(
    data: Annotated[
        Path | None,
        typer.Option(help="The server's data directory.", show_default="where servers keep it"),
    ] = None,
) -> None:
    """Show the secret that webhooks are signed with. Whoever reads the data directory may."""
    from coldspark.config import default_data
    from coldspark.database.data_directory import read_master_key
    from coldspark.errors import InvalidRequest
    from coldspark.jobs.webhook_client import signing_secret as secret_of

    directory = (data or Path(default_data())).expanduser()
    if not (directory / "master.key").is_file():
        raise InvalidRequest(f"{directory} is no data directory of a server: name one with --data")
    render.out(secret_of(read_master_key(directory)))


def print_job(
    server: "Client",
    job: dict[str, Any],
    *,
    is_awaited: bool,
    write: "Callable[[Answer], None]",
) -> None:
    """Print the id of a submitted job, or wait for its answer and print that."""
    if not is_awaited:
        render.out(job["id"])
        return
    ended = server.wait_for_job(job["id"])
    if ended["state"] != "completed":
        raise ColdsparkError(
            f"job {ended['id']} is {ended['state']}: {ended.get('message', '')}",
            log_tail=tuple(ended.get("log_tail") or ()),
        )
    write(server.job_output(job["id"]))


def _row(job: dict[str, Any]) -> tuple[Any, ...]:
    message = job.get("message") or ""
    return (
        job["id"],
        job["endpoint"],
        job["state"],
        job["attempts"],
        age(job["accepted_ms"]),
        message[:60],
    )
