"""The bytes of a tar archive as tarfile may read them: forward, once, and within bounds.

tarfile trusts an archive in three ways that this class does not. It reads a header extension of any
stated size into memory; it takes a header that it cannot read for the archive's end; and it never
reads as far as gzip's checksum.
"""

import gzip
from pathlib import Path
from typing import IO, cast

HEADER_BYTES_MAX = 8 * 1024**2
"""Of one member: extended headers and long names hold a few KiB."""
_GZIP = b"\x1f\x8b"
_SKIP_BYTES = 1024**2


class SourceRefused(Exception):
    """The archive's bytes are refused."""


class TarSource:
    """A file object for ``tarfile``, over a plain or gzipped file."""

    def __init__(self, archive: Path, bytes_max: int) -> None:
        self._raw = archive.open("rb")
        is_gzip = self._raw.read(len(_GZIP)) == _GZIP
        self._raw.seek(0)
        self._file = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw)
        self._bytes_max = bytes_max
        self._at = 0
        self._last = b""
        """The byte before the position: tarfile reads it twice."""
        self._is_back = False
        self._header_left: int | None = None
        self._block = b""

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def begin_header(self) -> None:
        """Count what is read from here as one member's header."""
        self._header_left = HEADER_BYTES_MAX
        self._block = b""

    def end_header(self) -> None:
        """Count what is read from here as content."""
        self._header_left = None

    def finish(self) -> None:
        """Read to the end. Raises SourceRefused unless the archive ended where tarfile stopped."""
        if any(self._block):
            raise SourceRefused(f"the header before byte {self._at} is damaged")
        self.end_header()
        while self.read(_SKIP_BYTES):
            pass

    def tell(self) -> int:
        """Return the position."""
        return self._at - self._is_back

    def seek(self, offset: int, whence: int = 0) -> int:
        """Skip forward, or one byte back."""
        assert whence == 0
        if offset == self._at - 1:
            self._is_back = True
        if offset < self._at - 1:
            raise SourceRefused(f"its member at byte {offset} overlaps the one before")
        while self._at < offset and self._take(min(_SKIP_BYTES, offset - self._at)):
            pass
        return self.tell()

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; fewer only at the end."""
        if self._is_back:
            self._is_back = False
            return self._last + self.read(size - 1)
        if self._header_left is not None:
            self._header_left -= size
            if self._header_left < 0:
                raise SourceRefused(f"a header is over {HEADER_BYTES_MAX} bytes")
        self._block = self._take(size)
        return self._block

    def _take(self, size: int) -> bytes:
        block = self._file.read(size) if size else b""
        self._at += len(block)
        if self._at > self._bytes_max:
            raise SourceRefused(f"it is over {self._bytes_max} bytes when unpacked")
        self._last = block[-1:] or self._last
        return block
