"""Deploy a directory or a file: read it, plan, upload what the server lacks, apply.

from pathlib import Path
from coldspark.sdk import Client, deploy

deploy(Client(), Path("examples/embed"))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldspark.sdk.client import Client, Json
from coldspark.sdk.packing import Archive, pack
from coldspark.sdk.project import read_project


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDeployment:
    """A deployment that is ready to be planned or applied; the same files give the same one."""

    name: str
    definition: Json
    """The body of ``PUT /v1/endpoints/{name}``."""
    archive: Archive


def prepare(source: Path, changes: Mapping[str, Any] | None = None) -> PreparedDeployment:
    """Read and pack a project; ``changes`` win over its file. Raises InvalidRequest."""
    project = read_project(source, changes)
    archive = pack(source)
    definition = {**project.definition, "code": archive.sha256}
    return PreparedDeployment(name=project.name, definition=definition, archive=archive)


def plan(client: Client, prepared: PreparedDeployment) -> Json:
    """Return what applying would change, without changing anything."""
    return client.put_endpoint(prepared.name, prepared.definition, is_dry_run=True)


def apply(
    client: Client, prepared: PreparedDeployment, on_upload: Callable[[int], None] | None = None
) -> Json:
    """Upload the code unless the server holds it, then create or change the endpoint.

    ``on_upload`` is called with the size in bytes when an upload begins.
    """
    archive = prepared.archive
    if not client.has_artifact(archive.sha256):
        if on_upload is not None:
            on_upload(len(archive.content))
        client.put_artifact(archive.sha256, archive.content)
    return client.put_endpoint(prepared.name, prepared.definition)


def deploy(client: Client, source: Path, changes: Mapping[str, Any] | None = None) -> Json:
    """Prepare and apply in one go; return the endpoint."""
    return apply(client, prepare(source, changes))
