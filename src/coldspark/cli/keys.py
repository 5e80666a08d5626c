"""``keys``: who may call. While there is none, everyone on this machine may."""

from typing import Annotated

import typer

from coldspark.cli import render
from coldspark.cli.guard import GuardedGroup
from coldspark.cli.moments import age
from coldspark.cli.options import AsJson, Key, Url, client

_CREATE = """
[bold]Examples[/bold]

coldspark keys create ci --scope deploy --scope invoke

coldspark keys create app --scope invoke:chat     [dim]may call one endpoint only[/dim]
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(cls=GuardedGroup, no_args_is_help=True, help="Manage API keys.")
    group.command(epilog=_CREATE)(create)
    group.command("ls", epilog="[bold]Example[/bold]: coldspark keys ls --json")(list_keys)
    group.command("rm", epilog="[bold]Example[/bold]: coldspark keys rm KEY_ID")(remove)
    app.add_typer(group, name="keys")


def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="invoke, deploy or admin; :endpoint bounds it.", show_default="invoke"),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. Its secret is shown once: as a bearer token, and as an AWS key pair."""
    made = client(url, key).create_key(name, scope or ["invoke"])
    if as_json:
        render.as_json(made)
        return
    render.pairs(made)
    render.note("This is shown once. Use it as $COLDSPARK_KEY, or in any AWS client.")


def list_keys(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """List the valid keys, without secrets."""
    rows = client(url, key).keys()
    if as_json:
        render.as_json({"keys": rows})
        return
    if not rows:
        render.note("no keys: everyone on this machine may call")
        return
    render.table(
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
    render.note(f"revoked {key_id}")
