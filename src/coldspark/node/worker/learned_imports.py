"""Modules that a replica imported after the fork: reported, so that the next template has them.

A handler that imports inside ``model_fn`` or ``predict_fn`` (transformers does, for each class of
model) pays for it in every replica. What was seen is imported by the next template of the same
program, after the program's own imports, one by one, each looked at for what a fork does not bear.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from . import fork_safety

MODULES_MAX = 2_000
NAMES_BYTES_MAX = 48 * 1024
_NAME_CHARS_MAX = 200
_REASON_CHARS_MAX = 300
_REPORT_AFTER = (1, 4, 16)
"""Calls: what is imported later than the last of these is rare."""


class ImportObserver:
    """Tells, after the first calls of a replica, what was imported since it was forked."""

    def __init__(self, baseline: Collection[str], paths: Sequence[str]) -> None:
        self._baseline = baseline
        self._paths = paths
        self._calls = 0
        self._seen = len(baseline)

    def after_call(self) -> list[str]:
        """Count a call; return what is new after some of them, nothing after the others."""
        self._calls += 1
        if self._calls not in _REPORT_AFTER or len(sys.modules) == self._seen:
            return []
        self._seen = len(sys.modules)
        return imported_since(self._baseline, self._paths)


def imported_since(baseline: Collection[str], paths: Sequence[str]) -> list[str]:
    """Return the modules that are new and could be imported again, in their order; bounded.

    The order is that in which imports ended, so whoever imports others comes after them. Where
    there are too many it is the first that are left out: the others import them.
    """
    roots = _roots(paths)
    names: list[str] = []
    size_bytes = 0
    for name, module in reversed(list(sys.modules.items())):
        if name in baseline or not _is_importable(name, module, roots):
            continue
        size_bytes += len(name) + 4
        if len(names) >= MODULES_MAX or size_bytes > NAMES_BYTES_MAX:
            break
        names.append(name)
    return names[::-1]


def _roots(paths: Sequence[str]) -> tuple[str, ...]:
    """Return where modules of the interpreter, of its environment and of the program lie.

    Not by sysconfig, which imports a module to say it.
    """
    found = {os.path.dirname(os.__file__), sys.prefix, *paths}
    return tuple(os.path.join(path, "") for path in found if path)


def _is_importable(name: str, module: Any, roots: tuple[str, ...]) -> bool:
    try:
        # What lies in sys.modules may be any object, and do anything when it is asked.
        spec = module.__spec__
        spec_name, origin = spec.name, spec.origin
    except Exception:  # noqa: BLE001  such a one is left alone
        return False
    if not isinstance(origin, str) or spec_name != name or len(name) > _NAME_CHARS_MAX:
        return False
    if name.startswith(("coldspark_", "__")):
        return False
    if origin in ("built-in", "frozen"):
        return True
    return origin.startswith(roots)


def import_guarded(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Import what is not imported yet; return those, and what was refused with the reasons.

    Stops after one that left something behind in the process: no later one can be told from it.
    """
    imported: list[str] = []
    denied: dict[str, str] = {}
    for name in names:
        if name in sys.modules:
            continue
        sockets = fork_safety.sockets()
        trouble = _import(name)
        left = fork_safety.reason_left_by_import(sockets)
        reason = left or trouble
        if reason is None:
            imported.append(name)
        else:
            denied[name] = reason[:_REASON_CHARS_MAX]
        if left is not None:
            break
    return imported, denied


def _import(name: str) -> str | None:
    """Import one; say what it raised. A part that it left in sys.modules is its own affair."""
    try:
        importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001  it is the user's code: anything may come
        return f"{type(error).__name__}: {error}"
    return None
