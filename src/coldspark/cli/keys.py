"""``keys``: who may call. While there is none, everyone on this machine may."""

from pathlib import Path
from typing import Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli.error_handling import ErrorHandlingGroup
from coldspark.cli.options import AsJson, Key, Url, client
from coldspark.cli.times import age

_CREATE = """
[bold]Examples[/bold]

coldspark keys create ci --scope deploy --scope invoke

coldspark keys create app --scope invoke:chat     [dim]may call one endpoint only[/dim]

coldspark keys create me --scope admin --data /srv/coldspark     [dim]before the first `up`[/dim]
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(cls=ErrorHandlingGroup, no_args_is_help=True, help="Manage API keys.")
    group.command(epilog=_CREATE)(create)
    group.command("ls", epilog="[bold]Example[/bold]: coldspark keys ls --json")(list_keys)
    group.command("rm", epilog="[bold]Example[/bold]: coldspark keys rm KEY_ID")(remove)
    app.add_typer(group, name="keys")


def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="invoke, deploy or admin; :endpoint bounds it.", show_default="invoke"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Write it into this data directory, which no server uses now.",
            show_default="ask the server",
        ),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. Its secret is shown once: as a bearer token, and as an AWS key pair."""
    scopes = scope or ["invoke"]
    source = context.get_parameter_source("url")
    if data is not None and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("name a server or a data directory, not both", param_hint="--data")
    if data is None:
        made = client(url, key).create_key(name, scopes)
    else:
        made = _written(data, name, scopes)
    if as_json:
        output.as_json(made)
        return
    output.pairs(made)
    output.note("This is shown once. Use it as $COLDSPARK_KEY, or in any AWS client.")


def _written(data: Path, name: str, scopes: list[str]) -> dict[str, Any]:
    """Make a key without a server: whoever may write the data directory may have any key."""
    import asyncio
    from contextlib import closing

    import msgspec

    from coldspark import clock
    from coldspark.database.data_directory import DataDirectory
    from coldspark.database.database import Database
    from coldspark.doors.native.keys import made_body
    from coldspark.errors import Conflict
    from coldspark.http.auth.key_store import KeyStore

    try:
        directory = DataDirectory.open(data.expanduser())
    except Conflict as conflict:
        message = f"{conflict.message} Or leave --data out: the running server makes the key."
        raise Conflict(message) from None
    with closing(directory), closing(Database.open(directory.database)) as database:
        keys = KeyStore(database, directory.master_key, clock.wall_ms)
        made = made_body(keys, asyncio.run(keys.create(name, scopes)))
    plain: dict[str, Any] = msgspec.to_builtins(made)
    return plain


def list_keys(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List the valid keys, without secrets."""
    rows = client(url, key).keys()
    if as_json:
        output.as_json({"keys": rows})
        return
    if not rows:
        output.note("no keys: everyone on this machine may call")
        return
    output.table(
        ("id", "name", "scopes", "created"),
        [(r["id"], r["name"], " ".join(r["scopes"]), age(r["created_ms"])) for r in rows],
    )


def remove(
    key_id: Annotated[str, typer.Argument(help="The key's id.")],
    url: Url = None,
    key: Key = None,
) -> None:
    """Revoke a key, at once."""
    client(url, key).remove_key(key_id)
    output.note(f"revoked {key_id}")
