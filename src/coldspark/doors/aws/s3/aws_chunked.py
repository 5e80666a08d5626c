"""``aws-chunked``: a body in chunks with signatures, and checksums in a trailer behind it.

hex size[;chunk-signature=…]\\r\\n  bytes  \\r\\n      (again and again, at last with size 0)
name:value\\r\\n  …  [x-amz-trailer-signature:…\\r\\n]  \\r\\n
"""

import re
from collections.abc import AsyncIterator
from hashlib import sha256

from coldspark.doors.aws.s3.errors import S3Error
from coldspark.http.auth.s3_signatures import ChunkSignatures

_LINE_BYTES_MAX = 1_024
_TRAILER_BYTES_MAX = 16 * 1_024
_HEAD = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")


class AwsChunkedBody:
    """Takes the chunks off a body. Memory is bounded by the pieces that come."""

    def __init__(
        self, pieces: AsyncIterator[bytes], chain: ChunkSignatures | None, *, has_trailer: bool
    ) -> None:
        self._pieces = pieces
        self._chain = chain
        self._has_trailer = has_trailer
        self._held = bytearray()
        self.trailer: dict[str, str] = {}
        """Lower-case names; known once the body is read."""

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield what is within the chunks. Raises S3Error and AuthRefused."""
        while True:
            size, proof = self._head(await self._line())
            digest = sha256()
            left = size
            while left:
                piece = await self._some(left)
                left -= len(piece)
                if self._chain is not None:
                    digest.update(piece)
                yield piece
            if self._chain is not None:
                self._chain.check_chunk(proof, digest.hexdigest())
            if not size:
                break
            if await self._line():
                raise _incomplete("a chunk is longer than it says")
        await self._read_trailer()

    def _head(self, line: bytes) -> tuple[int, str]:
        match = _HEAD.fullmatch(line)
        if match is None or (self._chain is not None and match[2] is None):
            raise _incomplete(f"no chunk begins with {line[:80]!r}")
        return int(match[1], 16), (match[2] or b"").decode()

    async def _read_trailer(self) -> None:
        signed = bytearray()
        proof = ""
        while line := await self._line(is_end_allowed=True):
            name, _, value = line.decode("latin-1").partition(":")
            name = name.strip().lower()
            if name == "x-amz-trailer-signature":
                proof = value.strip()
                continue
            self.trailer[name] = value.strip()
            signed += f"{name}:{value.strip()}\n".encode("latin-1")
            if len(signed) > _TRAILER_BYTES_MAX:
                raise _incomplete("the trailer is too long")
        if self._chain is not None and self._has_trailer:
            self._chain.check_trailer(proof, bytes(signed))

    async def _line(self, *, is_end_allowed: bool = False) -> bytes:
        while (end := self._held.find(b"\r\n")) < 0:
            if len(self._held) > _LINE_BYTES_MAX:
                raise _incomplete("a line between the chunks is too long")
            if not await self._more():
                if is_end_allowed and not self._held:
                    return b""
                raise _incomplete("it ends within a chunk")
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        return line

    async def _some(self, most: int) -> bytes:
        if not self._held and not await self._more():
            raise _incomplete("it ends within a chunk")
        piece = bytes(self._held[:most])
        del self._held[: len(piece)]
        return piece

    async def _more(self) -> bool:
        async for piece in self._pieces:
            if piece:
                self._held += piece
                return True
        return False


def _incomplete(why: str) -> S3Error:
    return S3Error("IncompleteBody", f"The aws-chunked body cannot be read: {why}.")
