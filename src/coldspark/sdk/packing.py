"""Pack a directory so that the same files always give the same bytes, and so the same artifact.

Sorted names, no times, no owners, no gzip timestamp. What ``.coldsparkignore`` names is left out
(one pattern a line, as in ``fnmatch``; a trailing ``/`` means a directory), and so is what is
never part of a deployment: version control, caches, virtual environments.
"""

import fnmatch
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coldspark.errors import BodyTooLarge, InvalidRequest
from coldspark.spec.units import format_size

if TYPE_CHECKING:
    import tarfile

IGNORE_FILE = ".coldsparkignore"
ARCHIVE_BYTES_MAX = 2 * 10**9
_NEVER = (
    ".git/",
    ".hg/",
    ".svn/",
    "__pycache__/",
    ".venv/",
    "venv/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".ipynb_checkpoints/",
    "*.pyc",
    "*.pyo",
    ".DS_Store",
    IGNORE_FILE,
)
_GZIP_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A packed directory."""

    content: bytes
    sha256: str
    files: tuple[str, ...]


def pack(source: Path) -> Archive:
    """Pack a directory, or a single file. Raises InvalidRequest and BodyTooLarge."""
    names = list_files(source)
    if not names:
        raise InvalidRequest(f"{source} holds no file to deploy")
    root = source if source.is_dir() else source.parent
    content = _gzipped(_tarred(root, names))
    return Archive(content=content, sha256=hashlib.sha256(content).hexdigest(), files=tuple(names))


def list_files(source: Path) -> list[str]:
    """Return the relative names that ``pack`` takes, sorted."""
    if source.is_file():
        return [source.name]
    if not source.is_dir():
        raise InvalidRequest(f"{source} does not exist")
    patterns = (*_NEVER, *_ignored_by_file(source / IGNORE_FILE))
    return sorted(_walk(source, source, patterns))


def _walk(root: Path, folder: Path, patterns: Sequence[str]) -> Iterator[str]:
    for path in folder.iterdir():
        name = path.relative_to(root).as_posix()
        if _is_ignored(name, path.is_dir(), patterns):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(root, path, patterns)
        elif path.is_file():
            yield _contained(root, path, name)


def _contained(root: Path, path: Path, name: str) -> str:
    """Follow a link within the directory; refuse one that leads out: it would leak or break."""
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise InvalidRequest(f"{name} is a link that leads out of {root}: copy the file instead")
    return name


def _is_ignored(name: str, is_folder: bool, patterns: Sequence[str]) -> bool:
    last = name.rpartition("/")[2]
    for pattern in patterns:
        if pattern.endswith("/") and not is_folder:
            continue
        plain = pattern.strip("/")
        subject = name if "/" in plain else last
        if fnmatch.fnmatchcase(subject, plain):
            return True
    return False


def _ignored_by_file(file: Path) -> list[str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _tarred(root: Path, names: Sequence[str]) -> bytes:
    # Loaded here: most commands of the command line never pack anything.
    import tarfile

    total = sum((root / name).stat().st_size for name in names)
    if total > ARCHIVE_BYTES_MAX:
        raise BodyTooLarge(
            f"{root} holds {format_size(total)}, over {format_size(ARCHIVE_BYTES_MAX)}: keep model"
            f" files out of the code (put them under model = ...), or name them in {IGNORE_FILE}"
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            _add(archive, root / name, name)
    return buffer.getvalue()


def _add(archive: "tarfile.TarFile", path: Path, name: str) -> None:
    import tarfile

    content = path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    # Only whether it may be run is kept of the mode: umasks differ between machines.
    entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    archive.addfile(entry, io.BytesIO(content))


def _gzipped(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, compresslevel=_GZIP_LEVEL, mtime=0)
