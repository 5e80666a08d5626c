"""Which model data is evicted when there is too much: the least recently used and not living.

Sizes go by inode: what two directories share is counted once, and is free only when both are
removed.
"""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldspark.objects.blobs import BlobStore

_EVICTABLE = ("objects", "files")
"""An upload stays: there may be no other copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedModel:
    """A directory of model data, a blob that none of them holds, or what came of a download."""

    path: Path
    used_ns: int
    is_living: bool
    files: Mapping[int, int]
    """Bytes on the disk by inode."""


def to_evict(cached: Sequence[CachedModel], bytes_max: int) -> list[CachedModel]:
    """Return what to remove, least recently used first, so that at most ``bytes_max`` stay.

    What lives stays, even if it alone is more than that.
    """
    holders = Counter(inode for one in cached for inode in one.files)
    total = sum({inode: size for one in cached for inode, size in one.files.items()}.values())
    evicted = []
    for one in sorted(cached, key=lambda one: (one.used_ns, one.path)):
        if total <= bytes_max:
            break
        if not one.is_living:
            holders.subtract(one.files.keys())
            total -= sum(size for inode, size in one.files.items() if not holders[inode])
            evicted.append(one)
    return evicted


def held_bytes(root: Path) -> int:
    """Return the bytes of downloaded model data on disk; what is shared counts once."""
    folders = (root / folder for folder in (*_EVICTABLE, "blobs", "partial"))
    paths = (path for folder in folders for path in _children(folder))
    return sum(dict(file for path in paths for file in _files(path)).values())


def list_cached(
    root: Path, living: Collection[str], in_flight: Collection[Path]
) -> list[CachedModel]:
    """Return all cached model data. ``living`` are sources as the manifests name them."""
    weights = BlobStore(root)
    cached = [_cached(path, is_living=True) for path in _children(root / "uploads")]
    for directory in (path for folder in _EVICTABLE for path in _children(root / folder)):
        manifest = weights.manifest(directory)
        # Of unknown source, it may be anybody's.
        is_living = manifest is None or manifest.source in living
        is_linked = manifest is not None and manifest.is_linked
        cached.append(_cached(directory, is_living=is_living, is_linked=is_linked))
    cached += [
        _cached(blob, is_living=False) for blob in _children(root / "blobs") if _is_alone(blob)
    ]
    for path in _children(root / "partial"):
        is_living = path in in_flight or path.with_suffix("") in in_flight
        cached.append(_cached(path, is_living=is_living))
    return cached


def remove(root: Path, evicted: Iterable[CachedModel]) -> list[Path]:
    """Remove what was chosen, and the blobs that nobody holds then; return what was removed.

    A directory is renamed before its files are removed: what has its name is whole.
    """
    weights = BlobStore(root)
    removed: list[Path] = []
    freed: set[int] = set()
    for one in evicted:
        if _is_unused_since(one) and _remove(one.path, root / "incoming"):
            weights.drop_manifest(one.path)
            removed.append(one.path)
            freed.update(one.files)
    for blob in _children(root / "blobs"):
        if blob.lstat().st_ino in freed and _is_alone(blob):
            blob.unlink()
    weights.drop_missing_digests()
    return removed


def _is_unused_since(one: CachedModel) -> bool:
    """Return whether nobody used it after it was chosen."""
    try:
        return one.path.lstat().st_mtime_ns == one.used_ns
    except FileNotFoundError:
        return False


def _remove(path: Path, incoming: Path) -> bool:
    leaving = incoming / f"leaving-{path.name}"
    try:
        path.rename(leaving)
    except FileNotFoundError:
        return False
    if leaving.is_dir():
        shutil.rmtree(leaving)
    else:
        leaving.unlink()
    return True


def _cached(path: Path, *, is_living: bool, is_linked: bool = False) -> CachedModel:
    state = path.lstat()
    # What a bucket holds as well is not freed; once the object is gone, it is.
    files = dict(_files(path, links_max=1 if is_linked else None))
    return CachedModel(path=path, used_ns=state.st_mtime_ns, is_living=is_living, files=files)


def _files(path: Path, links_max: int | None = None) -> Iterator[tuple[int, int]]:
    tree = [(str(path.parent), [], [path.name])] if path.is_file() else os.walk(path)
    for folder, _, names in tree:
        for name in names:
            state = os.lstat(os.path.join(folder, name))
            if links_max is None or state.st_nlink <= links_max:
                yield state.st_ino, state.st_blocks * 512


def _is_alone(blob: Path) -> bool:
    return blob.lstat().st_nlink == 1


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
