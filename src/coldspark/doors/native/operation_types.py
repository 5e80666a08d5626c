"""What an operation of the API is: one entry serves it and documents it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from coldspark.doors.native.request import NativeRequest
from coldspark.http.auth.scopes import KeyAction


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the query."""

    name: str
    description: str
    kind: type = str
    default: object = None


@dataclass(frozen=True, slots=True)
class Content:
    """A body: one of some schemas, or (with none) bytes of a media type."""

    kinds: tuple[type, ...]
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class DocumentedReply:
    """One good reply."""

    status: int
    description: str
    content: Content | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path."""

    method: str
    path: str
    id: str
    summary: str
    tag: str
    replies: tuple[DocumentedReply, ...]
    description: str = ""
    scope: KeyAction | None = None
    """What the caller's key must allow; None needs no key."""
    parameters: tuple[Parameter, ...] = ()
    body: Content | None = None
    errors: tuple[int, ...] = ()
    """Besides those that any operation may end in."""
    run: Callable[[NativeRequest], Awaitable[Response]] | None = None
    """For a caller who is known; None: the hot path serves it, or ``open`` does."""
    open: Callable[[Request], Awaitable[Response]] | None = None
    """For anybody."""
    extra_headers: tuple[str, ...] = field(default=())
    """Headers of the reply worth knowing."""
