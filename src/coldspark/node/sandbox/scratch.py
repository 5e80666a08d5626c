"""The directories that replicas may write to: ``tmp/``, and ``model`` for SageMaker's toolkit.

Most replicas put nothing there, and then the directory is the next one's: making and removing it
took a fifth of what a wake costs the platform.
"""

import itertools
import os
import shutil
from pathlib import Path

SPARE_MAX = 64
_MODEL, _TMP = "model", "tmp"


class ScratchDirectories:
    """Those of one data directory. ``root`` is empty, or not there, when this is made."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = itertools.count(1)
        self._spare: list[Path] = []

    def acquire(self) -> Path:
        """Return the path of a directory that nobody has; ``make`` makes it."""
        return self._spare.pop() if self._spare else self._root / f"s{next(self._numbers)}"

    def reclaim(self, scratch: Path) -> bool:
        """Keep for the next replica what the last one left as it was; return whether it did.

        Call it only once no process of that replica is left.
        """
        if len(self._spare) >= SPARE_MAX or not _is_clean(scratch):
            return False
        self._spare.append(scratch)
        return True

    def close(self) -> None:
        """Remove those that wait for a next replica."""
        while self._spare:
            remove(self._spare.pop())


def make(scratch: Path, model_dir: Path | None) -> None:
    """Make a directory as ``take`` named it, unless it is there."""
    if not os.path.isdir(f"{scratch}/{_TMP}"):
        os.makedirs(f"{scratch}/{_TMP}", exist_ok=True)
    if model_dir is not None:
        os.symlink(model_dir, f"{scratch}/{_MODEL}", target_is_directory=True)


def remove(scratch: Path) -> None:
    """Remove a directory with all that is in it."""
    shutil.rmtree(scratch, ignore_errors=True)


def _is_clean(scratch: Path) -> bool:
    """Return whether there is only what was made; takes the link to the model away.

    However much is in it, this looks at three names at most.
    """
    try:
        with os.scandir(scratch) as entries:
            found = {entry.name: entry for entry in itertools.islice(entries, 3)}
        tmp = found.pop(_TMP, None)
        if tmp is None or not tmp.is_dir(follow_symlinks=False):
            return False
        with os.scandir(tmp.path) as entries:
            if any(True for _ in entries):
                return False
        model = found.pop(_MODEL, None)
        if found or (model is not None and not model.is_symlink()):
            return False
        if model is not None:
            os.unlink(model.path)
    except OSError:
        return False
    return True
