"""Modules that replicas import after the fork, kept on disk for the next template.

A file per program and environment, written whole and renamed. What nobody has tried before a fork
is *unproven*: only a template that nobody waits for tries it, and what is refused there is denied
with its reason, for good. So a module that would break a template never breaks one that is needed.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from coldspark.node.templates.fork_order import TemplateKey
from coldspark.node.worker.learned_imports import MODULES_MAX, NAMES_BYTES_MAX

FILES_MAX = 1_000
RENEWALS_MAX = 3
"""Of one template in one run of the server."""
_FILE_BYTES_MAX = 1024**2
_NAME_CHARS_MAX = 200
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LearnedImports:
    """What one template was asked to import besides its program's own, and what came of it."""

    asked: tuple[str, ...] = ()
    modules: int = 0
    saved_us: int | None = None
    """How long importing them took: each replica spares that."""
    denied: Mapping[str, str] = field(default_factory=dict)

    def imported(self, modules: int, took_us: int | None, denied: Mapping[str, str]) -> None:
        """Note what the template told."""
        self.modules, self.saved_us, self.denied = modules, took_us, denied


class ProgramImports(msgspec.Struct, kw_only=True):
    """What is known of one program."""

    proven: list[str] = []
    unproven: list[str] = []
    denied: dict[str, str] = {}

    def add(self, names: Iterable[str]) -> bool:
        """Take what a replica has seen; return whether any of it is new."""
        known = {*self.proven, *self.unproven, *self.denied}
        # The order counts: whoever imports others comes after them.
        fresh = [name for name in dict.fromkeys(names) if _is_name(name) and name not in known]
        room = MODULES_MAX - len(known)
        room_bytes = NAMES_BYTES_MAX - sum(len(name) + 4 for name in known)
        taken: list[str] = []
        for name in fresh[: max(0, room)]:
            room_bytes -= len(name) + 4
            if room_bytes < 0:
                break
            taken.append(name)
        self.unproven += taken
        return bool(taken)

    def settle(self, asked: Sequence[str], denied: Mapping[str, str]) -> None:
        """Take what a template has tried: what it did not refuse is proven."""
        self.denied |= {name: reason for name, reason in denied.items() if _is_name(name)}
        tried = set(asked)
        self.proven = [name for name in asked if name not in self.denied]
        self.unproven = [name for name in self.unproven if name not in tried]


def _is_name(name: str) -> bool:
    parts = name.split(".")
    return len(name) <= _NAME_CHARS_MAX and all(part.isidentifier() for part in parts)


class LearnedImportStore:
    """The records of one data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records: dict[str, ProgramImports] = {}
        self._renewals: dict[str, int] = {}

    def proven(self, key: TemplateKey) -> list[str]:
        """Return what a template may import that somebody waits for."""
        return [] if key.program is None else list(self._record(key).proven)

    def all(self, key: TemplateKey) -> list[str]:
        """Return what a template that nobody waits for shall try."""
        record = self._record(key)
        return [*record.proven, *record.unproven]

    def add(self, key: TemplateKey, names: Iterable[str]) -> None:
        """Keep what a replica has imported."""
        if key.program is not None and self._record(key).add(names):
            self._save(key)

    def wants_renewal(self, key: TemplateKey) -> bool:
        """Return whether there is something to try, and it was not tried too often."""
        if key.program is None or not self._record(key).unproven:
            return False
        return self._renewals.get(_file_name(key), 0) < RENEWALS_MAX

    def begin_renewal(self, key: TemplateKey) -> list[str]:
        """Count an attempt; return the modules of it."""
        name = _file_name(key)
        self._renewals[name] = self._renewals.get(name, 0) + 1
        return self.all(key)

    def settle(self, key: TemplateKey, learned: LearnedImports) -> None:
        """Keep what a template has tried."""
        self._record(key).settle(learned.asked, learned.denied)
        self._save(key)

    def refuse(self, key: TemplateKey, asked: Sequence[str], reason: str) -> None:
        """Deny all that a template was asked for that did not live to say which one it was."""
        if asked:
            self._record(key).settle(asked, dict.fromkeys(asked, reason))
            self._save(key)

    def _record(self, key: TemplateKey) -> ProgramImports:
        name = _file_name(key)
        if name not in self._records:
            if len(self._records) >= FILES_MAX:
                # What is not on disk is lost with it: each is read again when it is asked for.
                self._records.clear()
                self._renewals.clear()
            self._records[name] = _read(self._directory / name)
        return self._records[name]

    def _save(self, key: TemplateKey) -> None:
        """Write a record. It only spares time: what cannot be written is told, and that is all."""
        name = _file_name(key)
        path = self._directory / name
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(self._records[name]))
            os.replace(part, path)
            self._forget_surplus()
        except OSError as error:
            _log.warning("learned imports of %s are not kept: %s", key.label, error)

    def _forget_surplus(self) -> None:
        files = [entry for entry in os.scandir(self._directory) if entry.name.endswith(".json")]
        if len(files) > FILES_MAX:
            oldest = sorted(files, key=lambda entry: entry.stat().st_mtime_ns)
            for entry in oldest[: len(files) - FILES_MAX]:
                os.unlink(entry.path)


def _file_name(key: TemplateKey) -> str:
    """Name what imports hang on: the interpreter's environment, and the code."""
    parts = (key.interpreter, key.program, key.modified_ns, *key.paths)
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32] + ".json"


def _read(path: Path) -> ProgramImports:
    """Return what was kept; what cannot be read is learned anew."""
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            return ProgramImports()
        return msgspec.json.decode(path.read_bytes(), type=ProgramImports)
    except (OSError, msgspec.MsgspecError):
        return ProgramImports()
