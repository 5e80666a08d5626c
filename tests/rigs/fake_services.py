"""What stands behind the native API, in memory."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_fakes import FakePlatform

from coldspark.billing.usage import Usage
from coldspark.database.records import Key as StoredKey
from coldspark.doors.native.ports import BillQuery, Services
from coldspark.errors import AlreadyExists, BodyTooLarge, NotFound
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.context import HttpContext
from coldspark.node.warmth import CachedFiles, NextStart, PoolView, StartView, WakeLevel
from coldspark.platform import catalogue
from coldspark.platform.ports import Document, Key, LogLine
from coldspark.server.doors import build_context
from coldspark.spec.types import ArtifactId, EndpointName, ReplicaId, Revision


class FakeArtifacts:
    """Archives in a dictionary."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def put(self, chunks: AsyncIterator[bytes], size_max: int) -> ArtifactId:
        """Store an archive."""
        content = b""
        async for chunk in chunks:
            content += chunk
            if len(content) > size_max:
                raise BodyTooLarge(f"an archive over {size_max} bytes")
        id = hashlib.sha256(content).hexdigest()
        self.stored[id] = content
        return ArtifactId(id)

    async def has(self, id: ArtifactId) -> bool:
        """Return whether it is here."""
        return id in self.stored

    async def stamp(self, url: str) -> str:
        """Return the same for a URL, whenever it is asked."""
        return url


class FakeUsages:
    """Ledger lines in a list, newest first."""

    def __init__(self) -> None:
        self.lines: list[Usage] = []
        self.pages = 0

    async def usages(
        self,
        endpoint: EndpointName | None,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int,
    ) -> Sequence[Usage]:
        """Return lines."""
        self.pages += 1
        return [
            one
            for one in self.lines
            if endpoint in (None, one.endpoint)
            and (since_ms is None or one.arrived_ms >= since_ms)
            and (until_ms is None or one.arrived_ms < until_ms)
        ][:limit]

    async def usage(self, request: str) -> Usage | None:
        """Return one line."""
        return next((one for one in self.lines if one.request == request), None)


class FakeKeys:
    """Implements ``Keys`` and ``KeyAdmin``; a key's token is its id, ``csk_`` before it or not."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.keys = {key.id: key for key in keys}

    def add(self, name: str, *scopes: str) -> Key:
        """Make a key."""
        key = StoredKey(id=f"CSK{name}", name=name, scopes=scopes, created_ms=1)
        self.keys[key.id] = key
        return key

    async def create(self, name: str, scopes: Sequence[str]) -> Key:
        """Make a key."""
        return self.add(name, *scopes)

    async def revoke(self, key_id: str) -> bool:
        """Forget a key."""
        return self.keys.pop(key_id, None) is not None

    def list(self) -> list[Key]:
        """Return the keys."""
        return list(self.keys.values())

    def token(self, key_id: str) -> str | None:
        """Return a key's token."""
        return key_id if key_id in self.keys else None

    def is_empty(self) -> bool:
        """Return whether there is none."""
        return not self.keys

    def by_bearer(self, token: str) -> Key | None:
        """Return the key of a token."""
        return self.keys.get(token.removeprefix("csk_"))

    def secret(self, key_id: str) -> str | None:
        """Return a key's secret, which a test can know."""
        return f"secret of {key_id}" if key_id in self.keys else None

    def by_id(self, key_id: str) -> Key | None:
        """Return a key."""
        return self.keys.get(key_id)


class FakeWarmth:
    """Implements ``WarmthReader``: what a test says is held."""

    def __init__(self) -> None:
        self.starts: dict[str, StartView] = {}
        self.held = NextStart(rung=WakeLevel.CACHED, template=None, why="no template: not started")
        self.stocked = CachedFiles(
            code_bytes=1_000, model_bytes=None, environment_bytes=None, has_own_environment=False
        )
        self.pool = PoolView(
            templates=1,
            templates_max=16,
            memory_bytes=40_000_000,
            memory_bytes_max=8 * 2**30,
            idle_timeout_s=300.0,
        )

    def start_of(self, replica: ReplicaId) -> StartView | None:
        """Return what a test put there."""
        return self.starts.get(replica)

    def warmth(self, revision: Revision) -> NextStart:
        """Return what is held."""
        return self.held

    def template_pool(self) -> PoolView:
        """Return the bounds."""
        return self.pool

    async def cached_files(self, revision: Revision) -> CachedFiles:
        """Return the sizes."""
        return self.stocked


class FakeFollower:
    """Lines that a test adds."""

    def __init__(self, on_lines: Callable[[], None]) -> None:
        self.on_lines = on_lines
        self.lines: list[LogLine] = []

    def add(self, line: LogLine) -> None:
        """Print a line."""
        self.lines.append(line)
        self.on_lines()

    def take(self) -> list[LogLine]:
        """Return what has come."""
        lines, self.lines = self.lines, []
        return lines


class FakeLogs:
    """Implements ``LogSubscriptions``."""

    def __init__(self) -> None:
        self.followers: list[FakeFollower] = []
        self.on_end: Callable[[], None] = lambda: None

    def follow(self, endpoint: EndpointName, on_lines: Callable[[], None]) -> FakeFollower:
        """Begin."""
        self.followers.append(FakeFollower(on_lines))
        return self.followers[-1]

    def unfollow(self, endpoint: EndpointName, follower: Any) -> None:
        """End."""
        self.followers.remove(follower)
        self.on_end()


class FakeDocuments:
    """Implements ``Documents`` in a dictionary."""

    def __init__(self, clock: Callable[[], int] = lambda: 1_700_000_000_000) -> None:
        self._clock = clock
        self.rows: dict[tuple[str, str, str], Document] = {}

    async def create(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        """Store a new record."""
        if (door, kind, name) in self.rows:
            raise AlreadyExists(f"{kind} {name} exists")
        return await self.put(door, kind, name, body)

    async def put(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        """Store or replace a record."""
        now_ms = self._clock()
        old = self.rows.get((door, kind, name))
        document = Document(
            door=door,
            kind=kind,
            name=name,
            body=body,
            created_ms=old.created_ms if old else now_ms,
            updated_ms=now_ms,
        )
        self.rows[door, kind, name] = document
        return document

    async def get(self, door: str, kind: str, name: str) -> Document | None:
        """Return a record."""
        return self.rows.get((door, kind, name))

    async def find(self, door: str, kind: str) -> list[Document]:
        """Return all of a kind, by name."""
        keys = sorted(key for key in self.rows if key[:2] == (door, kind))
        return [self.rows[key] for key in keys]

    async def delete(self, door: str, kind: str, name: str) -> bool:
        """Delete a record."""
        return self.rows.pop((door, kind, name), None) is not None


@dataclass
class Rig:
    """Everything that a test of the API touches."""

    platform: FakePlatform = field(default_factory=FakePlatform)
    artifacts: FakeArtifacts = field(default_factory=FakeArtifacts)
    usages: FakeUsages = field(default_factory=FakeUsages)
    keys: FakeKeys = field(default_factory=FakeKeys)
    logs: FakeLogs = field(default_factory=FakeLogs)
    warmth: FakeWarmth = field(default_factory=FakeWarmth)
    bills: list[BillQuery] = field(default_factory=list)
    artifact_bytes_max: int = 1_000_000

    async def bill(self, question: BillQuery) -> dict[str, object]:
        """Note the question."""
        if question.book == "none":
            raise NotFound("there is no price book 'none'")
        self.bills.append(question)
        return {"total_nanos": 7}

    async def doctor(self) -> dict[str, object]:
        """Find everything well."""
        check = {"name": "python", "status": "ok", "detail": "3.11", "cure": None}
        return {"status": "ok", "checks": [check]}

    def context(self) -> HttpContext:
        """Return the gateway with all its doors."""
        services = Services(
            artifacts=self.artifacts,
            usages=self.usages,
            keys=self.keys,
            logs=self.logs,
            warmth=self.warmth,
            bill=self.bill,
            doctor=self.doctor,
            artifact_bytes_max=self.artifact_bytes_max,
        )
        return build_context(
            platform=self.platform,
            documents=FakeDocuments(),
            services=services,
            authenticator=Authenticator(self.keys),
            catalogue=catalogue.load(),
        )
