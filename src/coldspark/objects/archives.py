"""Unpack tar archives that strangers made: nothing may land, or lead, outside the directory.

Python's ``data`` filter refuses what is absolute, climbs out, or is a device. It has been led
astray by chains of links, so links are made last, when every file lies in a directory that is
none; and a link's target may climb (``..``) only at its beginning. By induction no chain of such
links leaves the directory: each climbs from a real directory within it, then only descends.

Files are made read-only: replicas share them.
"""

import errno
import os
import re
import tarfile
import zlib
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, cast

from coldspark.objects.tar_stream import SourceRefused, TarSource

BYTES_MAX = 200 * 1024**3
RATIO_MAX = 200
"""Bytes unpacked per byte packed; gzip itself can reach a thousand, weights and code reach ten."""
_RATIO_FROM_BYTES = 1024**3
"""Up to here no ratio is a bomb."""
_FRAME_BYTES_MAX = 2 * 1024**3
"""Headers and padding, besides the members' content."""
MEMBERS_MAX = 1_000_000
SUFFIXES = (".tar.gz", ".tgz", ".tar")
_COPY_BYTES = 1024**2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ArchiveRefused(Exception):
    """An archive is refused: which member, and why."""


def is_archive(name: str) -> bool:
    """Return whether a file of this name is unpacked."""
    return name.lower().endswith(SUFFIXES)


def unpack(
    archive: Path, into: Path, *, bytes_max: int = BYTES_MAX, members_max: int = MEMBERS_MAX
) -> None:
    """Unpack a tar or tar.gz into ``into``, which must be new.

    Raises ArchiveRefused, with ``into`` half filled: unpack beside the target and rename.
    """
    into.mkdir(mode=0o700, parents=True)
    try:
        # Whatever is well packed stays under the ratio; what does not would fill the disk.
        bytes_max = min(bytes_max, max(_RATIO_FROM_BYTES, RATIO_MAX * archive.stat().st_size))
        source = TarSource(archive, bytes_max + _FRAME_BYTES_MAX)
        with closing(source), _opened(source) as opened:
            _Unpacking(opened, source, into, bytes_max, members_max).run()
    except SourceRefused as refused:
        raise ArchiveRefused(f"it is no whole tar or tar.gz archive: {refused}") from refused
    except (tarfile.ReadError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise ArchiveRefused(f"it cannot be unpacked: {error.strerror}") from error
        raise ArchiveRefused(f"it is no whole tar or tar.gz archive: {error}") from error


def _opened(source: TarSource) -> tarfile.TarFile:
    source.begin_header()
    return tarfile.open(fileobj=cast("IO[bytes]", source), mode="r:")


class _Unpacking:
    def __init__(
        self,
        archive: tarfile.TarFile,
        source: TarSource,
        into: Path,
        bytes_max: int,
        members_max: int,
    ) -> None:
        self._archive = archive
        self._source = source
        self._into = into
        self._bytes_left = self._bytes_max = bytes_max
        self._members_left = self._members_max = members_max
        self._links: list[tarfile.TarInfo] = []

    def run(self) -> None:
        while (member := self._next()) is not None:
            self._count(member)
            self._place(_checked(member, self._into))
            # tarfile keeps every header that it read, else.
            self._archive.members.clear()  # type: ignore[attr-defined]
        self._source.finish()
        for link in self._links:
            self._link(link)

    def _next(self) -> tarfile.TarInfo | None:
        self._source.begin_header()
        member = self._archive.next()
        if member is not None:
            self._source.end_header()
        return member

    def _count(self, member: tarfile.TarInfo) -> None:
        self._members_left -= 1
        self._bytes_left -= max(0, member.size)
        if self._members_left < 0:
            raise ArchiveRefused(f"{member.name!r} is member {self._members_max + 1}: too many")
        if self._bytes_left < 0:
            raise ArchiveRefused(
                f"{member.name!r} brings it over {self._bytes_max} bytes when unpacked"
            )

    def _place(self, member: tarfile.TarInfo) -> None:
        path = self._into / member.name
        try:
            if member.isdir():
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
                return
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if member.issym():
                self._links.append(member)
            elif member.islnk():
                path.unlink(missing_ok=True)
                os.link(self._into / member.linkname, path, follow_symlinks=False)
            else:
                self._write(member, path)
        except (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise _refused(member, f"does not fit with the others: {error.strerror}") from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise _refused(member, "has too long a name") from error
            raise

    def _write(self, member: tarfile.TarInfo, path: Path) -> None:
        content = self._archive.extractfile(member)
        if content is None:
            raise _refused(member, "is neither a file, a directory nor a link")
        # A second member of one name replaces the first, not what the first is linked to.
        path.unlink(missing_ok=True)
        mode = 0o555 if (member.mode or 0) & 0o100 else 0o444
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with content, os.fdopen(fd, "wb") as file:
            _copy(content, file, member)

    def _link(self, member: tarfile.TarInfo) -> None:
        path = self._into / member.name
        try:
            path.symlink_to(member.linkname)
        except FileExistsError as error:
            raise _refused(member, "is a link and something else at once") from error


def _copy(source: IO[bytes], target: IO[bytes], member: tarfile.TarInfo) -> None:
    left = member.size
    while block := source.read(_COPY_BYTES):
        target.write(block)
        left -= len(block)
    if left:
        raise _refused(member, "is cut short")


def _checked(member: tarfile.TarInfo, into: Path) -> tarfile.TarInfo:
    if _CONTROL.search(member.name + member.linkname):
        raise _refused(member, "has control characters in its name")
    try:
        checked = tarfile.data_filter(member, str(into))
    except tarfile.FilterError as error:
        raise _refused(member, f"is refused: {error}") from error
    if ".." in PurePosixPath(checked.name).parts:
        raise _refused(member, "climbs out with ..")
    if checked.islnk() and ".." in PurePosixPath(checked.linkname).parts:
        raise _refused(member, f"links to {checked.linkname!r}, with ..")
    if checked.issym():
        _check_target(checked)
    return checked


def _check_target(member: tarfile.TarInfo) -> None:
    target = PurePosixPath(member.linkname).parts
    climbs = next((i for i, part in enumerate(target) if part != ".."), len(target))
    if PurePosixPath(member.linkname).is_absolute() or ".." in target[climbs:]:
        raise _refused(member, f"links to {member.linkname!r}: .. may only begin a link")
    if climbs >= len(PurePosixPath(member.name).parts):
        raise _refused(member, f"links to {member.linkname!r}, outside the archive")


def _refused(member: tarfile.TarInfo, reason: str) -> ArchiveRefused:
    return ArchiveRefused(f"its member {member.name[:200]!r} {reason}")
