"""Tags that are stored apart from what has them, and sent as a list of keys and values."""

from collections.abc import Mapping
from typing import Any

from coldspark.platform.ports import DocumentStore

KIND = "tags"


async def stored_tags(documents: DocumentStore, door: str, resource: str) -> dict[str, str]:
    """Return a resource's tags in the order in which they were given."""
    document = await documents.get(door, KIND, resource)
    return {} if document is None else read_tags(document.body["Tags"])


async def store_tags(
    documents: DocumentStore, door: str, resource: str, tags: Mapping[str, str]
) -> None:
    """Replace a resource's tags; without any there is nothing to store."""
    if tags:
        await documents.put(door, KIND, resource, {"Tags": render_tags(tags)})
    else:
        await documents.delete(door, KIND, resource)


def read_tags(rows: Any) -> dict[str, str]:
    """Return tags of a checked list. Of a key that comes twice the last one counts."""
    return {str(row["Key"]): str(row["Value"]) for row in rows}


def render_tags(tags: Mapping[str, str]) -> list[dict[str, object]]:
    """Return tags as a list."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
