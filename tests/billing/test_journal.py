"""The journal: what was appended reads back, whatever becomes of the end of its file."""

import subprocess
import sys
from pathlib import Path

import pytest

from coldspark.billing.journal import Journal, JournalPosition, line, read, segment_name, segments


def payloads(directory: Path, segment: int = 1) -> list[bytes]:
    """Return what can be read of a segment of boot 1."""
    chunks = read(directory, JournalPosition(1, segment, 0), None)
    return [each.payload for chunk in chunks for each in chunk.lines]


def written(directory: Path, number: int) -> Path:
    """Append lines of growing length to one segment; return its file."""
    journal = Journal(directory, 1)
    for index in range(number):
        journal.append([line(b"U", b"x" * index)])
    journal.close()
    return directory / segment_name(1, 1)


def test_a_file_cut_at_any_byte_keeps_every_line_before_the_cut(tmp_path: Path) -> None:
    """A line is there when its newline is."""
    content = written(tmp_path, 6).read_bytes()
    for cut in range(len(content)):
        (tmp_path / segment_name(1, 1)).write_bytes(content[:cut])
        (chunk,) = list(read(tmp_path, JournalPosition(1, 1, 0), None)) or (None,)
        whole = content[:cut].count(b"\n")
        assert (0 if chunk is None else len(chunk.lines)) == whole
        is_torn = cut > 0 and content[cut - 1 : cut] != b"\n"
        assert (0 if chunk is None else chunk.torn) == is_torn


def test_any_damaged_byte_costs_one_line_and_is_reported(tmp_path: Path) -> None:
    """The others are still read; a damaged newline joins two."""
    path = written(tmp_path, 4)
    content = path.read_bytes()
    for at in range(len(content) - 1):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :])
        (chunk,) = read(tmp_path, JournalPosition(1, 1, 0), None)
        assert chunk.damaged == 1
        assert len(chunk.lines) == (2 if content[at : at + 1] == b"\n" else 3)


def test_segments_roll_and_lines_know_their_place(tmp_path: Path) -> None:
    """A place is unique, and reading may begin at one."""
    journal = Journal(tmp_path, 1, segment_bytes=50)
    ends = []
    for number in range(10):
        journal.append([line(b"U", b"%d" % number), line(b"H", b"-%d" % number)])
        ends.append(journal.end)
    journal.close()
    assert ends == sorted(set(ends))
    assert len(segments(tmp_path)) == 5 + 1
    lines = [each for segment in range(1, 6) for each in payloads(tmp_path, segment)]
    assert lines == [b"%s%d" % (sign, n) for n in range(10) for sign in (b"", b"-")]
    first, second = (
        each for chunk in read(tmp_path, JournalPosition(1, 1, 0), 27) for each in chunk.lines
    )
    (again, *_) = next(read(tmp_path, JournalPosition(1, 1, second.offset), 27)).lines
    assert again == second
    assert (first.kind, second.kind) == (b"U", b"H")


def test_more_than_one_read_of_lines_comes_back_whole(tmp_path: Path) -> None:
    """No line is lost where one read ends and the next begins."""
    journal = Journal(tmp_path, 1)
    expected = [b"%d" % number * (number % 97) for number in range(9_000)]
    for payload in expected:
        journal.append([line(b"U", payload)])
    journal.close()
    assert payloads(tmp_path) == expected


REFUSED = """
import resource, sys
from pathlib import Path
from coldspark.errors import ColdsparkError
from coldspark.billing.journal import Journal, line

journal = Journal(Path(sys.argv[1]), 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
kept = []
try:
    for number in range(1_000):
        journal.append([line(b"U", b"%d" % number)])
        kept.append(number)
except ColdsparkError as error:
    print(error.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append([line(b"U", b"more")])
print(len(kept))
"""


@pytest.mark.process
def test_a_line_that_the_disk_refuses_is_taken_back(tmp_path: Path) -> None:
    """The writer is told; half a line never stands before the next one."""
    result = subprocess.run(
        [sys.executable, "-c", REFUSED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    message, kept = result.stdout.splitlines()
    assert "cannot be written" in message
    assert payloads(tmp_path) == [*(b"%d" % number for number in range(int(kept))), b"more"]
