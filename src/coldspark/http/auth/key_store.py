"""API keys. The table holds no secret: each is derived from the master key.

id      CSK + 17 characters of base32 (85 random bits): looks like an AWS access key id
secret  base64 of the first 30 bytes of HMAC-SHA256(master key, id): 40 characters
token   csk_<id>_<secret>, for clients that send a bearer token
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, select, update

from coldspark.database import schema
from coldspark.database.database import Database
from coldspark.database.records import Key
from coldspark.errors import InvalidRequest

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SECRET_BYTES = 30


class KeyStore:
    """The keys in memory, checked on the hot path, and their table behind them."""

    def __init__(self, database: Database, master_key: bytes, wall_ms: Callable[[], int]) -> None:
        self._database = database
        self._master_key = master_key
        self._wall_ms = wall_ms
        self._keys: dict[str, Key] = {}
        self._secrets: dict[str, str] = {}

    async def refresh(self) -> None:
        """Read the table; call it once before the first check."""
        keys = await self._database.run(_load)
        self._keys = {key.id: key for key in keys}
        self._secrets = {key.id: secret_of(self._master_key, key.id) for key in keys}

    async def create(self, name: str, scopes: Sequence[str]) -> Key:
        """Make a key. Raises InvalidRequest for a scope that does not exist."""
        letters = "".join(secrets.choice(_BASE32) for _ in range(17))
        now_ms = self._wall_ms()
        try:
            key = Key(id=f"CSK{letters}", name=name, scopes=tuple(scopes), created_ms=now_ms)
        except ValueError as error:
            raise InvalidRequest(str(error), field="scopes") from error
        await self._database.run(_insert, key)
        await self.refresh()
        return key

    async def revoke(self, key_id: str) -> bool:
        """Make a key invalid at once; return whether there was one. The ledger keeps its id."""
        was_there = await self._database.run(_revoke, key_id, self._wall_ms())
        await self.refresh()
        return was_there

    def list(self) -> list[Key]:
        """Return the valid keys, oldest first."""
        return sorted(self._keys.values(), key=lambda key: (key.created_ms, key.id))

    def is_empty(self) -> bool:
        """Return whether no key exists: then loopback callers need none."""
        return not self._keys

    def by_bearer(self, token: str) -> Key | None:
        """Return the key of a bearer token, compared in constant time."""
        prefix, _, rest = token.partition("_")
        key_id, _, secret = rest.partition("_")
        expected = self._secrets.get(key_id)
        if prefix != "csk" or expected is None:
            return None
        if not hmac.compare_digest(secret.encode(errors="replace"), expected.encode()):
            return None
        return self._keys[key_id]

    def secret(self, key_id: str) -> str | None:
        """Return the secret access key for SigV4, or None for an unknown id."""
        return self._secrets.get(key_id)

    def by_id(self, key_id: str) -> Key | None:
        """Return a key by its id."""
        return self._keys.get(key_id)

    def token(self, key_id: str) -> str | None:
        """Return the bearer token of a key, or None for an unknown id."""
        secret = self._secrets.get(key_id)
        return None if secret is None else f"csk_{key_id}_{secret}"


def secret_of(master_key: bytes, key_id: str) -> str:
    """Derive a key's secret."""
    digest = hmac.digest(master_key, key_id.encode(), hashlib.sha256)
    return base64.b64encode(digest[:_SECRET_BYTES]).decode()


def _load(connection: Connection) -> list[Key]:
    table = schema.keys
    rows = connection.execute(select(table).where(table.c.revoked_ms.is_(None)))
    return [
        Key(id=row.id, name=row.name, scopes=tuple(row.scopes.split()), created_ms=row.created_ms)
        for row in rows
    ]


def _insert(connection: Connection, key: Key) -> None:
    row = {"id": key.id, "name": key.name, "scopes": " ".join(key.scopes)}
    connection.execute(insert(schema.keys).values(row | {"created_ms": key.created_ms}))


def _revoke(connection: Connection, key_id: str, now_ms: int) -> bool:
    table = schema.keys
    live = (table.c.id == key_id) & table.c.revoked_ms.is_(None)
    return connection.execute(update(table).where(live).values(revoked_ms=now_ms)).rowcount > 0
