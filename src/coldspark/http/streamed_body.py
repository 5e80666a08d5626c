"""A long body that is handed on while it comes: within its limit, at its replica's pace, as signed.

While the replica does not take it, its caller is not read. The hash of a signed one is worked out
as it passes; the stream keeps its last piece until the hash is known to be right.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from coldspark.errors import BodyTooLarge
from coldspark.http.auth.authenticator import HeadCredentials, check_payload_hash
from coldspark.platform.body_stream import BodyStream
from coldspark.platform.ports import Key

if TYPE_CHECKING:
    from coldspark.http.connection import Connection


class StreamedBody:
    """One body between its connection and its stream."""

    __slots__ = ("_connection", "_hash", "_is_paused", "_payload_hash", "key", "stream")

    def __init__(
        self,
        connection: "Connection",
        size_bytes: int | None,
        ahead: HeadCredentials,
        pieces: Iterable[bytes],
    ) -> None:
        """``pieces`` are those that have come already."""
        self.key: Key | None = ahead.key
        self._connection = connection
        self._is_paused = False
        self._payload_hash = ahead.payload_hash
        self._hash = sha256()
        begun = list(pieces)
        limit = sum(map(len, begun)) if size_bytes is None else size_bytes  # Until it is known.
        is_proof_due = ahead.payload_hash is not None
        self.stream = BodyStream(size_bytes, limit, self._on_room, is_proof_due=is_proof_due)
        for piece in begun:
            self.feed(piece)

    def feed(self, data: bytes) -> None:
        """Take a piece. Raises BodyTooLarge."""
        stream = self.stream
        size, limit = stream.fed_bytes + len(data), stream.limit_bytes
        if size > limit:
            raise BodyTooLarge(
                f"the body has {size} bytes and more to come; the limit is {limit}"
                " (body_bytes_max). Raise the endpoint's limit, or send a reference to the data"
                " instead"
            )
        if self._payload_hash is not None:
            self._hash.update(data)
        stream.feed(data)
        if stream.is_full and not self._is_paused:
            self._is_paused = True
            self._connection.pause_body()

    def end(self) -> None:
        """Take its end. Raises AuthRefused if it is not what was signed."""
        if self._payload_hash is not None:
            check_payload_hash(self._payload_hash, self._hash.hexdigest())
        self.stream.end()

    def close(self) -> None:
        """Resume the caller: nobody wants the rest."""
        self._on_room()

    def _on_room(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._connection.resume_body()
