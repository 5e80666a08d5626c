"""Files by the SHA-256 of their bytes: each once on the disk, and once in the page cache.

A blob is read-only and never changes. Directories of model data hold hard links to blobs, so
models that share a file share its pages, and a mapped file stays whole whatever happens to its
name. A manifest beside each directory says where it came from and which blobs lie where in it.

``seen`` remembers which object of a bucket (its key, ETag and size) was which blob: an object that
is here is not downloaded again, whichever URL asks for it.
"""

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

SHARED_BYTES_MIN = 1024**2
"""Files of an archive below this size stay as they are: to share them saves nothing."""
_DIGEST_CHARS = 64
_NO_LINK = (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)
"""The file has all the links it can have, or the file system knows none."""


class BlobEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A blob in a directory."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Where a directory came from, and the blobs in it."""

    source: str
    files: tuple[BlobEntry, ...]
    is_linked: bool = False
    """It holds links to objects of this server's own buckets, whose bytes those are."""


class BlobStore:
    """The blobs under a data directory. One server at a time opens it."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._seen = root / "seen"
        self._manifests = root / "manifests"
        self._incoming = root / "incoming"
        self._trusted: set[str] = set()
        for folder in (self._blobs, self._seen, self._manifests, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def admit(self, file: Path, sha256: str) -> None:
        """Make a file a blob or, where its bytes are one already, a link to it."""
        is_program = bool(file.stat().st_mode & stat.S_IXUSR)
        file.chmod(0o555 if is_program else 0o444)
        blob = self._blob(sha256, is_program)
        try:
            self._unite(file, blob)
        except OSError as error:
            # It has its own copy, then.
            if error.errno not in _NO_LINK:
                raise

    def admit_tree(self, tree: Path) -> tuple[BlobEntry, ...]:
        """Admit the large files under a directory; return their paths."""
        return tuple(self._admit_all(tree))

    def link(self, entry: BlobEntry, tree: Path) -> bool:
        """Put a blob at its path in a directory. False: it is not here, or not whole."""
        blob = self._blob(entry.sha256, is_program=False)
        if not self._is_whole(blob, entry.size_bytes):
            return False
        path = tree / entry.path
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            os.link(blob, path)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copy(blob, path)
        return True

    def known_digest(self, source: str) -> str | None:
        """Return the SHA-256 of what an object was when it was last downloaded."""
        try:
            digest = (self._seen / source).read_text()
        except FileNotFoundError:
            return None
        return digest if len(digest) == _DIGEST_CHARS else None

    def record_digest(self, source: str, sha256: str) -> None:
        """Record the blob of an object."""
        self._replace(self._seen / source, sha256.encode())

    def drop_digest(self, source: str) -> None:
        """Delete the record of an object: its blob is gone."""
        (self._seen / source).unlink(missing_ok=True)

    def drop_missing_digests(self) -> None:
        """Delete the records of objects whose blobs are gone."""
        for path in self._seen.iterdir():
            digest = self.known_digest(path.name)
            if digest is None or not self._blob(digest, is_program=False).exists():
                path.unlink(missing_ok=True)

    def drop(self, entry: BlobEntry) -> None:
        """Remove a blob that no directory holds."""
        blob = self._blob(entry.sha256, is_program=False)
        with suppress(FileNotFoundError):
            if blob.stat().st_nlink == 1:
                blob.unlink()

    def write_manifest(self, directory: Path, manifest: Manifest) -> None:
        """Write a directory's manifest; before the directory has its name."""
        self._replace(self._manifest(directory), msgspec.json.encode(manifest))

    def manifest(self, directory: Path) -> Manifest | None:
        """Return a directory's manifest."""
        try:
            content = self._manifest(directory).read_bytes()
            return msgspec.json.decode(content, type=Manifest)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def drop_manifest(self, directory: Path) -> None:
        """Remove a directory's manifest."""
        self._manifest(directory).unlink(missing_ok=True)

    def damaged(self) -> list[Path]:
        """Read all blobs; return those whose bytes do not match their names."""
        return [blob for blob in sorted(self._blobs.iterdir()) if sha256_of(blob) != _digest(blob)]

    def _is_whole(self, blob: Path, size_bytes: int) -> bool:
        """Return whether a blob is here and, once in a server's life, matches its name.

        Nothing fetched was synced: a power cut may have left its size, and not its bytes.
        """
        try:
            if blob.stat().st_size != size_bytes:
                return False
            if blob.name not in self._trusted and sha256_of(blob) != _digest(blob):
                return False
        except FileNotFoundError:
            return False
        self._trusted.add(blob.name)
        return True

    def _unite(self, file: Path, blob: Path) -> None:
        try:
            os.link(file, blob)
            self._trusted.add(blob.name)
        except FileExistsError:
            if self._is_whole(blob, file.stat().st_size):
                self._replace_by_link(blob, file)
            else:
                self._replace_by_link(file, blob)
                self._trusted.add(blob.name)

    def _replace_by_link(self, file: Path, name: Path) -> None:
        """Link a file to a name, replacing whatever has it."""
        spare = self._incoming / secrets.token_hex(8)
        os.link(file, spare)
        try:
            spare.replace(name)
        finally:
            # Two links to one file: rename leaves both.
            spare.unlink(missing_ok=True)

    def _replace(self, path: Path, content: bytes) -> None:
        spare = self._incoming / secrets.token_hex(8)
        spare.write_bytes(content)
        spare.replace(path)

    def _admit_all(self, tree: Path) -> Iterator[BlobEntry]:
        for path, size_bytes in _large_files(tree):
            digest = sha256_of(path)
            self.admit(path, digest)
            # A name may hold any bytes, a manifest only text.
            name = os.fsencode(path.relative_to(tree)).decode("utf-8", "backslashreplace")
            yield BlobEntry(path=name, size_bytes=size_bytes, sha256=digest)

    def _blob(self, sha256: str, is_program: bool) -> Path:
        # Mode belongs to the file, not to its name: a program needs a blob of its own.
        return self._blobs / (f"{sha256}.x" if is_program else sha256)

    def _manifest(self, directory: Path) -> Path:
        return self._manifests / f"{directory.parent.name}-{directory.name}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(blob: Path) -> str:
    return blob.name.removesuffix(".x")


def _large_files(tree: Path) -> Iterable[tuple[Path, int]]:
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            state = path.lstat()
            if stat.S_ISREG(state.st_mode) and state.st_size >= SHARED_BYTES_MIN:
                yield path, state.st_size
