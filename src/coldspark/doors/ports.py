"""What doors need of other rooms, besides the platform itself."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from coldspark.billing.usage import Usage
from coldspark.node.warmth import CachedFiles, NextStart, PoolView, StartView
from coldspark.platform.ports import Key, LogLine
from coldspark.spec.types import ArtifactId, EndpointName, ReplicaId, Revision


class Artifacts(Protocol):
    """Archives on disk, by the SHA-256 of their bytes."""

    async def put(self, chunks: AsyncIterator[bytes], size_max: int) -> ArtifactId:
        """Store an archive and return its id. Raises BodyTooLarge."""

    async def has(self, id: ArtifactId) -> bool:
        """Return whether an archive is here."""

    async def stamp(self, url: str) -> str:
        """Return what changes when the data at a URL does. Raises ArtifactUnavailable."""


class Usages(Protocol):
    """The ledger's lines, for reading."""

    async def usages(
        self,
        endpoint: EndpointName | None,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int,
    ) -> Sequence[Usage]:
        """Return the newest lines that arrived in ``since_ms <= t < until_ms``, newest first."""

    async def usage(self, request: str, /) -> Usage | None:
        """Return one request's line."""


class WarmthReader(Protocol):
    """What is held for endpoints, and what their replicas were started from."""

    def start_of(self, replica: ReplicaId) -> StartView | None:
        """Return what a replica was started from, unless that was forgotten."""

    def warmth(self, revision: Revision) -> NextStart:
        """Return the rung that a revision without a replica would wake from now."""

    def template_pool(self) -> PoolView:
        """Return how many templates there are, what they hold, and the bounds of both."""

    async def cached_files(self, revision: Revision) -> CachedFiles:
        """Measure a revision's files, as far as they are known to be here."""


class KeyAdmin(Protocol):
    """API keys, made and revoked."""

    async def create(self, name: str, scopes: Sequence[str]) -> Key:
        """Make a key. Raises InvalidRequest for a scope that does not exist."""

    async def revoke(self, key_id: str) -> bool:
        """Make a key invalid at once; return whether there was one."""

    def list(self) -> list[Key]:
        """Return the valid keys, oldest first."""

    def token(self, key_id: str) -> str | None:
        """Return a key's bearer token."""

    def secret(self, key_id: str) -> str | None:
        """Return a key's AWS secret access key."""


class LogSubscription(Protocol):
    """Lines of one endpoint as they come."""

    def take(self) -> list[LogLine]:
        """Return what has come since the last call."""


class LogSubscriptions(Protocol):
    """Logs, while they are written."""

    def follow(self, endpoint: EndpointName, on_lines: Callable[[], None]) -> LogSubscription:
        """Call ``on_lines`` when there are lines to take."""

    # Any: it takes back what its own ``follow`` returned, of whatever class that is.
    def unfollow(self, endpoint: EndpointName, follower: Any) -> None:
        """End following. Idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BillQuery:
    """Which stretch of the ledger, under which prices."""

    endpoint: EndpointName | None
    book: str
    since_ms: int | None
    until_ms: int | None
    as_gpu: str | None
    """Price usage on CPU as if on this type; None takes the book's default."""
    memory_bytes: int | None = None
    """What each replica has, for books that bill by memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything behind the API but the platform."""

    artifacts: Artifacts
    usages: Usages
    keys: KeyAdmin
    logs: LogSubscriptions
    warmth: WarmthReader
    bill: Callable[[BillQuery], Awaitable[dict[str, object]]]
    """Raises NotFound for an unknown book, InvalidRequest for an unknown GPU."""
    doctor: Callable[[], Awaitable[dict[str, object]]]
    artifact_bytes_max: int = 8 * 1024**3
