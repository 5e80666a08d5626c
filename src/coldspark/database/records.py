"""The records of the store: endpoints, documents, API keys, boots."""

from dataclasses import dataclass

from coldspark.spec.types import EndpointDefinition

SCOPES = ("invoke", "deploy", "admin")
"""What a key may do; ``admin`` includes the other two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEndpoint:
    """An endpoint as it was deployed."""

    definition: EndpointDefinition
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One run of the server, as far as the ledger covers it."""

    boot: int
    opened_ms: int
    last_ms: int
    """When its last line ended; ``opened_ms`` if it wrote none. Later, nothing is known of it."""
    nanos: int
    """The sum of its lines: busy, starting, idle and overhead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A door's own record, such as a model."""

    door: str
    kind: str
    name: str
    body: dict[str, object]
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it is checked. The secret is derived, never stored."""

    id: str
    """Also the access key id of a signature."""
    name: str
    scopes: tuple[str, ...]
    """``invoke``, ``deploy``, ``admin``; each may end in ``:endpoint-name``."""
    created_ms: int

    def __post_init__(self) -> None:
        if not self.scopes:
            raise ValueError(f"key {self.name!r} needs at least one scope of {', '.join(SCOPES)}")
        for scope in self.scopes:
            action, colon, endpoint = scope.partition(":")
            is_named = bool(endpoint) and endpoint == "".join(endpoint.split())
            if action not in SCOPES or (colon and not is_named):
                raise ValueError(
                    f"scope {scope!r} must be one of {', '.join(SCOPES)},"
                    " alone or followed by :endpoint-name"
                )

    def allows(self, action: str, endpoint: str | None = None) -> bool:
        """Return whether the key may do ``action`` to ``endpoint`` (None: to all of them).

        A scope bound to an endpoint never allows what concerns all endpoints, such as listing
        every ledger line.
        """
        scopes = {action, "admin"}
        if endpoint is not None:
            scopes |= {f"{action}:{endpoint}", f"admin:{endpoint}"}
        return not scopes.isdisjoint(self.scopes)
