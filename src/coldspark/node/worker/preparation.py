"""Import a program in the template, and as much of its model as a fork bears.

What rules a fork out is found once all is there; by then the process is spoilt. So whoever asked
starts over, in the same process executed anew, with a plan that holds less.
"""

from __future__ import annotations

import os
from types import ModuleType

from . import fork_safety, handler, learned_imports, media_types, program
from .stopwatch import Stopwatch
from .template_plan import TemplatePlan


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
