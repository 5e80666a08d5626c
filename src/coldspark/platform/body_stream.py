"""A long request body on its way from its caller to its replica, sans I/O.

Whoever reads the caller feeds it; whoever writes to the replica takes from it. It holds little:
``is_full`` asks the one side to read no more, ``on_room`` says when it may, and so a replica that
reads slowly slows its caller down. What was taken is gone: a streamed body cannot be sent twice.

A body whose proof is due (a hash that was signed) keeps its newest piece back until ``end`` says
that it is as signed, so that nobody can have taken a forged one for whole.
"""

from collections import deque
from collections.abc import Callable

HELD_BYTES_MAX = 64 * 1024
"""From here on it is full. One read of a socket may come on top."""


class BodyStream:
    """The body of one request, between one feeder and one taker."""

    __slots__ = (
        "_held_bytes",
        "_is_proof_due",
        "_on_more",
        "_on_room",
        "_pieces",
        "fed_bytes",
        "is_ended",
        "limit_bytes",
        "size_bytes",
    )

    def __init__(
        self,
        size_bytes: int | None,
        limit_bytes: int,
        on_room: Callable[[], None],
        *,
        is_proof_due: bool = False,
    ) -> None:
        self.size_bytes = size_bytes
        """As its caller announced it; None: unknown until it ends."""
        self.limit_bytes = limit_bytes
        """It must not grow longer. Its feeder watches that, and gives the request up."""
        self.fed_bytes = 0
        self.is_ended = False
        self._is_proof_due = is_proof_due
        self._on_room = on_room
        self._on_more: Callable[[], None] | None = None
        self._pieces: deque[bytes | memoryview] = deque()
        self._held_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether its feeder should wait for ``on_room``."""
        return self._free_bytes() >= HELD_BYTES_MAX

    @property
    def is_over(self) -> bool:
        """Whether it has ended and all of it was taken."""
        return self.is_ended and not self._pieces

    def feed(self, data: bytes) -> None:
        """Take what the caller sent."""
        assert not self.is_ended
        if data:
            self.fed_bytes += len(data)
            self._held_bytes += len(data)
            self._pieces.append(data)
            self._tell()

    def end(self) -> None:
        """Take that the caller has sent all of it, and that it is what was signed."""
        self.is_ended = True
        self._tell()

    def attach(self, on_more: Callable[[], None]) -> None:
        """Have ``on_more`` called now, and whenever there is more to take or the end has come."""
        self._on_more = on_more
        self._tell()

    def take(self, size_bytes_max: int) -> bytes:
        """Return the next bytes; none if there are none yet, or ``is_over``."""
        if self._free_bytes() == 0:
            return b""
        was_full = self.is_full
        piece = self._pieces.popleft()
        if len(piece) > size_bytes_max:
            # A view: cutting a long piece must not copy the rest of it again and again.
            view = memoryview(piece)
            self._pieces.appendleft(view[size_bytes_max:])
            piece = view[:size_bytes_max]
        self._held_bytes -= len(piece)
        if was_full and not self.is_full:
            self._on_room()
        return bytes(piece)

    def _free_bytes(self) -> int:
        """Return how many of the held bytes may be taken."""
        if self._is_proof_due and not self.is_ended and self._pieces:
            return self._held_bytes - len(self._pieces[-1])
        return self._held_bytes

    def _tell(self) -> None:
        if self._on_more is not None:
            self._on_more()


def whole(body: bytes) -> BodyStream:
    """Return a body that was gathered, to be sent in parts."""
    stream = BodyStream(len(body), len(body), _nobody)
    stream.feed(body)
    stream.end()
    return stream


def _nobody() -> None:
    """Nobody waits for room."""
