"""Split what a replica prints into bounded lines, and write them as records. Pure.

A record on disk is one line: ``<wall ms> <o|e|c> <text>``. A line longer than ``LINE_BYTES_MAX``
becomes several; all but the last end in ``…``.
"""

from coldspark.platform.ports import LogLine
from coldspark.spec.types import ReplicaId

LINE_BYTES_MAX = 8 * 1024
STREAMS = {"stdout": b"o", "stderr": b"e", "coldspark": b"c"}
_NAMES = {letter.decode(): name for name, letter in STREAMS.items()}
GOES_ON = "…".encode()


class LineSplitter:
    """Turn a stream of bytes into lines. Holds less than one line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, and the pieces of one that is too long."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        # A flood is split and joined in bulk: only a too long line costs a look at each.
        if lines and max(map(len, lines)) > LINE_BYTES_MAX:
            lines = [piece for line in lines for piece in _pieces(line)]
        if len(self._rest) > LINE_BYTES_MAX:
            *pieces, self._rest = _pieces(self._rest)
            lines += pieces
        return lines

    def flush(self) -> list[bytes]:
        """Return the last line if it had no newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _pieces(line: bytes) -> list[bytes]:
    starts = range(0, len(line), LINE_BYTES_MAX)
    pieces = [line[start : start + LINE_BYTES_MAX] for start in starts] or [line]
    return [*(piece + GOES_ON for piece in pieces[:-1]), pieces[-1]]


def encode_records(at_ms: int, stream: str, lines: list[bytes]) -> bytes:
    """Return the lines (at least one) as records that share one time stamp."""
    prefix = b"%d %b " % (at_ms, STREAMS[stream])
    return prefix + (b"\n" + prefix).join(lines) + b"\n"


def decode_record(record: bytes, replica: ReplicaId) -> LogLine | None:
    """Return the line of a record, or None for one that a crash or a limit cut short."""
    words = record.decode("utf-8", "replace").split(" ", 2)
    if len(words) != 3 or not words[0].isdigit() or words[1] not in _NAMES:
        return None
    text = words[2].rstrip("\r")
    return LogLine(at_ms=int(words[0]), replica=replica, stream=_NAMES[words[1]], text=text)
