"""The loaded models of a handler that has many: which stay, which make room.

Each is measured when it is loaded: by how much the process grew. Before one is loaded, those that
were not used for longest go, until it will fit as far as can be told: by its last measure, else by
its files and by how much memory the files of the others came to. One in use never goes. What does
not fit for all that is tried nevertheless.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

from .control import ModelMemory
from .handler import ProgramHandler
from .program import message, print_error

_ROOM_TENTHS = 9
"""Of the memory: calls need some themselves."""
_SIZES_MAX = 4_096
_FILES_MAX = 100_000
_LOOK_EVERY_S = 0.2
"""Whether the call that waits was cancelled."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Load = Callable[[Callable[[], ProgramHandler]], ProgramHandler]
"""Runs the user's loading, such that it can be interrupted."""


@dataclass
class LoadedModel:
    """One model, and how many calls use it."""

    target: str
    handler: ProgramHandler
    size_bytes: int
    uses: int = 0


@dataclass
class ModelLoadReport:
    """What was done so that a call could be answered, for the router to hear."""

    load_us: int | None = None
    unload_us: int = 0
    evicted: list[str] = field(default_factory=list)
    loaded: int = 0
    """How many there are now."""


class ModelCache:
    """The models of one replica. One is loaded at a time, so that each can be measured."""

    def __init__(self, module: ModuleType, room: ModelMemory) -> None:
        self._module = module
        self._room = room
        self._base_bytes = resident_bytes()
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        """The one used last is last."""
        self._sizes: dict[str, tuple[int, int]] = {}
        """Of every model that was measured: its files, and what it took."""
        self._state = threading.Condition(threading.Lock())
        self._is_loading = False
        self._untold: list[str] = []
        """Evicted, and the router does not know yet."""

    def handlers(self) -> list[ProgramHandler]:
        """Return the handler of every loaded model."""
        with self._state:
            return [loaded.handler for loaded in self._loaded.values()]

    def park(self) -> None:
        """Let every model give back what a frozen process should not hold, or none."""
        parked: list[ProgramHandler] = []
        try:
            for handler in self.handlers():
                handler.park()
                parked.append(handler)
        except BaseException:
            for handler in parked:
                handler.unpark()
            raise

    def unpark(self) -> None:
        """Let every model take it back."""
        for handler in self.handlers():
            handler.unpark()

    def acquire(
        self, target: str, directory: str, load: Load, is_cancelled: Callable[[], bool]
    ) -> tuple[LoadedModel | None, ModelLoadReport]:
        """Return a model, loaded if need be, for a call that then ``gives`` it back.

        None if the call was cancelled while it waited for another's load. Raises whatever the
        program raises while it loads.
        """
        with self._state:
            while self._is_loading and target not in self._loaded:
                if is_cancelled():
                    return None, ModelLoadReport()
                self._state.wait(timeout=_LOOK_EVERY_S)
            found = self._loaded.get(target)
            if found is not None:
                return self._use(found), self._doings(ModelLoadReport())
            self._is_loading = True
        try:
            return self._bring(target, directory, load)
        finally:
            with self._state:
                self._is_loading = False
                self._state.notify_all()

    def release(self, loaded: LoadedModel) -> None:
        """A call is done with it."""
        with self._state:
            loaded.uses -= 1
            if self._room.is_cached or loaded.uses:
                return
            self._drop(loaded)
        del loaded
        give_back()

    def _bring(
        self, target: str, directory: str, load: Load
    ) -> tuple[LoadedModel, ModelLoadReport]:
        doings = ModelLoadReport()
        on_disk_bytes = files_bytes(directory)
        self._make_room(self._expected_bytes(target, on_disk_bytes), doings)
        before_bytes, started_ns = resident_bytes(), time.perf_counter_ns()
        while True:
            try:
                handler = load(lambda: self._make(directory))
                break
            except Exception as error:
                # No files tell what a model takes on a device: it is tried with ever more room.
                if not is_out_of_memory(error) or self._idle() is None:
                    raise
                trouble = message(error)
            # Outside of the handler: its traceback held what was half loaded.
            print_error(f"coldspark: {trouble}: a model is evicted, and {target} tried again\n")
            self._evict_one(doings)
        doings.load_us = (time.perf_counter_ns() - started_ns) // 1000
        size_bytes = max(0, resident_bytes() - before_bytes)
        self._note_size(target, on_disk_bytes, size_bytes)
        loaded = LoadedModel(target, handler, size_bytes)
        with self._state:
            self._loaded[target] = loaded
            self._use(loaded)
        self._make_room(0, doings)
        with self._state:
            return loaded, self._doings(doings)

    def _make(self, directory: str) -> ProgramHandler:
        handler = ProgramHandler(self._module)
        handler.load(directory)
        handler.warm_up()
        return handler

    def _use(self, loaded: LoadedModel) -> LoadedModel:
        loaded.uses += 1
        self._loaded.move_to_end(loaded.target)
        return loaded

    def _doings(self, doings: ModelLoadReport) -> ModelLoadReport:
        doings.evicted, self._untold = self._untold, []
        doings.loaded = len(self._loaded)
        return doings

    def _make_room(self, wanted_bytes: int, doings: ModelLoadReport) -> None:
        """Evict until so much more fits, or none is left that could go."""
        room_bytes = self._room.memory_bytes * _ROOM_TENTHS // 10 - self._base_bytes
        while self._held_bytes() + wanted_bytes > room_bytes:
            if not self._evict_one(doings):
                return

    def _held_bytes(self) -> int:
        with self._state:
            return sum(loaded.size_bytes for loaded in self._loaded.values())

    def _evict_one(self, doings: ModelLoadReport) -> bool:
        """Unload the one that was not used for longest; return whether there was one."""
        started_ns = time.perf_counter_ns()
        with self._state:
            idle = self._idle()
            if idle is None:
                return False
            self._drop(idle)
        del idle
        give_back()
        doings.unload_us += (time.perf_counter_ns() - started_ns) // 1000
        return True

    def _idle(self) -> LoadedModel | None:
        return next((one for one in list(self._loaded.values()) if not one.uses), None)

    def _drop(self, loaded: LoadedModel) -> None:
        if self._loaded.get(loaded.target) is loaded:
            del self._loaded[loaded.target]
            self._untold.append(loaded.target)

    def _expected_bytes(self, target: str, on_disk_bytes: int) -> int:
        """Say what a model will take. Worked: others took 800 MB for 200 of files; 50 give 200."""
        known = self._sizes.get(target)
        if known is not None:
            return known[1]
        files = sum(on_disk for on_disk, _ in self._sizes.values())
        taken = sum(size for _, size in self._sizes.values())
        return on_disk_bytes if not files else max(on_disk_bytes, on_disk_bytes * taken // files)

    def _note_size(self, target: str, on_disk_bytes: int, size_bytes: int) -> None:
        if len(self._sizes) >= _SIZES_MAX:
            self._sizes.clear()
        self._sizes[target] = on_disk_bytes, size_bytes


def resident_bytes() -> int:
    """Return what this process holds in memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


def files_bytes(directory: str) -> int:
    """Return the size of a model's files."""
    size_bytes, count = 0, 0
    for folder, _, names in os.walk(directory):
        for name in names:
            count += 1
            if count > _FILES_MAX:
                return size_bytes
            try:
                size_bytes += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # A link that leads nowhere.
    return size_bytes


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether it says that there is no memory, of this machine or of a device."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def give_back() -> None:
    """Return to the system, and to the device, what an unloaded model held."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
