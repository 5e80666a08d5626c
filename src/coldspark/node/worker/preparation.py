"""Import a program in the template, and as much of its model as a fork bears.

What rules a fork out is found once all is there; by then the process is spoilt. So whoever asked
starts over, in the same process executed anew, with a plan that holds less. Its rungs, highest
first: imports, ``setup_fn`` and the model; imports and ``setup_fn``; imports alone; nothing.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from types import ModuleType

from . import fork_safety, handler, learned_imports, media_types, program

_DENIALS_MAX = 3
Times = dict[str, int]
"""Fields of the ``prepared`` event."""


@dataclass
class TemplatePlan:
    """One attempt. It travels through the exec by which a template starts over, so it is JSON."""

    program: str | None
    paths: list[str] = field(default_factory=list)
    model_dir: str | None = None
    """Load the model from there; None: each replica does."""
    setup_dir: str | None = None
    """Without the model: run the program's ``setup_fn`` all the same, on this directory."""
    learned: list[str] = field(default_factory=list)
    """Modules that replicas were seen to import later, in their order."""
    denied: dict[str, str] = field(default_factory=dict)
    """Those of them that cannot be imported before a fork, and why."""
    denials: int = 0
    """How often the template started over for that."""
    ahead_dir: str | None = None
    """A process that stands by may load the model from there: it is safe only after the fork."""
    lost: str | None = None
    """Why what is held is not all."""
    unsafe: str | None = None
    """Why nothing is held, and replicas are not forked."""
    import_us: int = 0

    def to_json(self) -> str:
        """Write it for the next execution."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TemplatePlan:
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))

    def deny(self, names: dict[str, str]) -> None:
        """Leave some of the learned modules out; the third time, leave them all out."""
        self.denied.update(names)
        self.denials += 1
        if self.denials >= _DENIALS_MAX:
            rest = [name for name in self.learned if name not in self.denied]
            self.denied.update(dict.fromkeys(rest, "too many of those before it were refused"))
        self.learned = [name for name in self.learned if name not in self.denied]

    def lower(self, reason: str, *, has_setup: bool, was_load_refused: bool) -> None:
        """Hold one rung less. ``was_load_refused``: the model's own code failed here."""
        if self.model_dir is not None:
            self.lost = f"its model is loaded after the fork: {reason}"
            # What failed before the fork would fail as much in a process that has no order yet.
            self.ahead_dir = None if was_load_refused else self.model_dir
            self.setup_dir = self.model_dir if has_setup else None
            self.model_dir = None
        elif self.setup_dir is not None:
            self.lost = f"its setup runs after the fork: {reason}"
            self.setup_dir = None
        else:
            self.unsafe = reason


class UnfitForFork(Exception):
    """The process cannot be forked from; its plan says what to do instead."""


class Preparation:
    """One attempt at a plan, and what came of it."""

    def __init__(self, plan: TemplatePlan) -> None:
        self.plan = plan
        self.module: ModuleType | None = None
        self.handler: handler.ProgramHandler | None = None
        self.learned: list[str] = []
        """What was imported for replicas that would do so later."""
        self.keep: frozenset[int] = frozenset()
        """Descriptors that the program opened: they stay open in the replicas."""
        self.torch_threads: int | None = None
        self._stopwatch = Stopwatch()

    @property
    def times(self) -> dict[str, int]:
        """Return how long the parts took."""
        return self._stopwatch.times

    def run(self) -> None:
        """Do it. Raises Unfit with the plan lowered, and whatever the program's import raises."""
        before = open_descriptors()
        self._import()
        self._stopwatch.imported()
        self.plan.import_us = self.times["import_us"]
        self._import_learned()
        trouble = self._load()
        self._stopwatch.loaded(is_held=self.handler is not None)
        self.keep = frozenset(open_descriptors() - before)
        self._settle()
        reason = trouble or fork_safety.reason_against_fork()
        if reason is None and self.handler is not None:
            reason = fork_safety.socket_opened(self.keep)
        if reason is not None:
            has_setup = self.handler is not None and self.handler.has_setup
            self.plan.lower(reason, has_setup=has_setup, was_load_refused=trouble is not None)
            raise UnfitForFork

    def _import(self) -> None:
        path = self.plan.program
        if path is None:
            return
        # Where its replicas will be, for what it reads by relative paths.
        os.chdir(os.path.dirname(path) or ".")
        self.module = program.load(path, self.plan.paths)
        if handler.uses_default_codecs(self.module):
            media_types.numpy()

    def _import_learned(self) -> None:
        """Import what replicas import later, unless the program itself rules a fork out."""
        if not self.plan.learned:
            return
        if fork_safety.reason_left_by_import(fork_safety.sockets()) is not None:
            return
        self.learned, denied = learned_imports.import_guarded(self.plan.learned)
        if not denied and self.learned:
            self._settle()
            reason = fork_safety.reason_against_fork()
            denied = {} if reason is None else dict.fromkeys(self.learned, reason)
        if denied:
            self.plan.deny(denied)
            raise UnfitForFork
        self._stopwatch.learned()

    def _load(self) -> str | None:
        """Load what the plan says; say why it could not be, if it could not."""
        model_dir, setup_dir = self.plan.model_dir, self.plan.setup_dir
        if self.module is None or (model_dir is None and setup_dir is None):
            return None
        try:
            made = handler.ProgramHandler(self.module)
            if model_dir is not None:
                self.handler = made
                made.load(model_dir)
            elif setup_dir is not None and made.has_setup:
                self.handler = made
                made.set_up(setup_dir)
        except BaseException as error:  # noqa: BLE001  it is the user's code: anything may come
            # The replica will try again, and tell it as its own failure if it is one.
            return f"{_PART[model_dir is not None]} here failed: {program.message(error)}"
        return None

    def _settle(self) -> None:
        threads = fork_safety.settle()
        if self.torch_threads is None:
            # The second time it would be what the first has set.
            self.torch_threads = threads


_PART = {True: "loading it", False: "its setup_fn"}


def open_descriptors() -> set[int]:
    """Return what this process holds open."""
    # Checked once more, for the listing has a descriptor of its own, gone by then.
    return {int(name) for name in os.listdir("/proc/self/fd") if _is_open(int(name))}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class Stopwatch:
    """Started when it is made; ``times`` go into the template's ``prepared`` event."""

    def __init__(self) -> None:
        self._mark_ns = time.perf_counter_ns()
        self._private_bytes = 0
        self.times: Times = {}

    def imported(self) -> None:
        """Note that the program is imported."""
        self.times["import_us"] = self._lap_us()
        self._private_bytes = private_bytes()

    def learned(self) -> None:
        """Note that what replicas would import later is imported."""
        self.times["learned_us"] = self._lap_us()
        self._private_bytes = private_bytes()

    def loaded(self, *, is_held: bool) -> None:
        """Note that the model is loaded, if it is."""
        if not is_held:
            return
        self.times["load_us"] = self._lap_us()
        self.times["load_private_bytes"] = max(0, private_bytes() - self._private_bytes)

    def _lap_us(self) -> int:
        now_ns = time.perf_counter_ns()
        lap_us, self._mark_ns = (now_ns - self._mark_ns) // 1000, now_ns
        return lap_us


def private_bytes() -> int:
    """Return this process's anonymous memory: what a mapped file holds is not counted."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
