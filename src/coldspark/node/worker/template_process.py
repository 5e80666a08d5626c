"""The template: a process that imports a program once and forks a replica for every order.

One thread, no event loop, no CUDA context. It is the subreaper of all that its replicas start, so
whatever outlives a replica comes back to it, and is killed before the replica is reported gone.
A program that rules a fork out is dropped again: the template executes itself anew, with the
program's threads and memory gone, and starts each replica in a fresh interpreter.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from . import (
    control,
    kernel_calls,
    orphans,
    process_tag,
    program,
    replica_process,
)
from .control import ReplicaOrder, parse_order
from .preparation import Preparation, TemplatePlan, Times, UnfitForFork
from .standbys import Standbys, forked

_DESCRIPTORS_MAX = 8
_EXIT_BUG = 70


@dataclass(frozen=True)
class _Living:
    """A replica whose process has not been reaped."""

    order: ReplicaOrder
    pid: int


class TemplateProcess:
    """Everything between a control socket and the processes forked for it."""

    def __init__(self, supervisor: socket.socket) -> None:
        self._supervisor = supervisor
        self._mark = process_tag.ProcessTag()
        self._plan = TemplatePlan(program=None)
        self._held = Preparation(self._plan)
        self._baseline: frozenset[str] = frozenset()
        """The modules that every fork has."""
        self._is_prepared = False
        self._replicas: dict[str, _Living] = {}
        self._standbys = Standbys()
        self._own_children: frozenset[int] = frozenset()
        self._is_ending = False
        self._selector = selectors.PollSelector()
        self._wakeup, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._wakeup.setblocking(False)

    def serve(self) -> NoReturn:
        """Serve until the supervisor is gone; then, or after a bug, leave nothing behind."""
        status = _EXIT_BUG
        try:
            self._loop()
            status = control.EXIT_ORPHANED
        except BaseException:  # noqa: BLE001  the process's outermost edge
            traceback.print_exc()
        finally:
            self._kill_all()
            os._exit(status)

    def _loop(self) -> None:
        self._selector.register(self._supervisor, selectors.EVENT_READ, self._receive)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._wake)
        while not self._is_ending:
            for key, _ in self._selector.select():
                key.data()

    # Words from the supervisor.

    def _receive(self) -> None:
        try:
            data, descriptors, flags, _ = socket.recv_fds(
                self._supervisor,
                control.PACKET_MAX_BYTES,
                _DESCRIPTORS_MAX,
                socket.MSG_CMSG_CLOEXEC,
            )
        except OSError:
            data, descriptors, flags = b"", [], 0
        if not data:
            self._is_ending = True
            return
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("packet too large")
            self._obey(json.loads(data), descriptors)
        except (ValueError, KeyError, TypeError) as error:
            _remark(f"cannot read an order: {error!r}")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _obey(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        op = message["op"]
        if op == "prepare":
            replica_process.join_cgroups(message.get("cgroups") or ())
            self._prepare(_plan(message))
        elif op == "stand_by":
            self._stand_by(message)
        elif op == "fork":
            self._fork(message, descriptors)
        elif op == "signal":
            self._signal(message["replica"], message["signal"])
        elif op == "sweep":
            self._sweep(message["replica"])
        else:
            raise ValueError(f"unknown op {op!r}")

    def _tell(self, event: str, **fields: object) -> None:
        try:
            self._supervisor.sendall(json.dumps({"event": event, **fields}).encode())
        except OSError:
            self._is_ending = True

    # Import.

    def _prepare(self, plan: TemplatePlan) -> None:
        if self._is_prepared:
            raise ValueError("prepared already")
        self._plan, environment = plan, dict(os.environ)
        # While the import blocks us, nobody would see the end of the socket.
        kernel_calls.set_parent_death_signal(signal.SIGKILL)
        preparation = Preparation(plan)
        try:
            preparation.run()
        except UnfitForFork:
            self._start_over(environment)
        except BaseException as error:  # noqa: BLE001  importing runs user code: anything may come
            self._break(error)
        self._held = preparation
        self._baseline = frozenset(sys.modules)
        self._own_children = frozenset(p.pid for p in orphans.descendants(os.getpid()))
        self._begin(preparation.times)

    def _start_over(self, environment: dict[str, str]) -> NoReturn:
        """Become a template that holds less; the process and its socket stay the same."""
        self._kill_all()
        program.flush_output()
        descriptor = self._supervisor.fileno()
        os.set_inheritable(descriptor, True)
        command = control.bootstrap_command(descriptor, "--again", self._plan.to_json())
        os.execve(sys.executable, command, environment)

    def resume(self, plan: TemplatePlan) -> None:
        """Go on with what is left of a plan that was found unsafe to fork."""
        if plan.unsafe is None:
            self._prepare(plan)
            return
        self._plan = plan
        self._begin({"import_us": plan.import_us})

    def _begin(self, times: Times) -> None:
        """Take orders from now on, and say so."""
        self._watch_signals()
        kernel_calls.set_parent_death_signal(0)
        self._is_prepared = True
        handler = self._held.handler
        self._tell(
            "prepared",
            **times,
            fork_safe=self._plan.unsafe is None,
            reason=self._plan.unsafe or self._plan.lost,
            has_model=handler is not None and handler.is_loaded,
            has_setup=handler is not None and handler.has_setup,
            loads_ahead=self._plan.unsafe is None and self._plan.ahead_dir is not None,
            learned=len(self._held.learned),
            denied=self._plan.denied,
        )

    def _break(self, error: BaseException) -> NoReturn:
        breakage = program.explain(error)
        print(breakage.traceback, file=sys.stderr)
        program.flush_output()
        self._tell("broken", **vars(breakage))
        self._kill_all()
        os._exit(control.EXIT_BOOT_FAILED)

    def _watch_signals(self) -> None:
        """Turn SIGCHLD and SIGTERM into bytes on a socket. After the import, which may set both."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.signal(signal.SIGTERM, _do_nothing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _wake(self) -> None:
        try:
            while signals := self._wakeup.recv(4096):
                self._is_ending |= signal.SIGTERM in signals
        except BlockingIOError:
            pass
        self._reap()

    # Replicas.

    def _fork(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        name = message["replica"]
        try:
            order = parse_order(message)
            self._check(order, descriptors)
            standby = self._standbys.send(
                order.standby, message, descriptors, self._selector.unregister
            )
            if standby is not None:
                pid = standby
            elif self._plan.unsafe is None:
                pid = self._fork_replica(order, descriptors)
            else:
                plan = self._plan
                pid = control.spawn(message, plan.program, plan.paths, descriptors)
        except (ValueError, OSError) as error:
            self._tell("fork_failed", replica=name, message=str(error))
            return
        self._replicas[name] = _Living(order, pid)
        self._tell("forked", replica=name, pid=pid)

    def _check(self, order: ReplicaOrder, descriptors: Sequence[int]) -> None:
        if not self._is_prepared:
            raise ValueError("the template is not prepared")
        if order.replica in self._replicas:
            raise ValueError(f"replica {order.replica} exists")
        if len(descriptors) != order.descriptors:
            raise ValueError(f"{len(descriptors)} descriptors came; {order.descriptors} needed")

    def _fork_replica(self, order: ReplicaOrder, descriptors: Sequence[int]) -> int:
        parent = os.getpid()
        return forked(lambda: replica_process.run(self._launch(order, descriptors, parent)))

    def _stand_by(self, message: dict[str, Any]) -> None:
        """Fork a process ahead of its order."""
        name = message["standby"]
        if not self._is_prepared or self._plan.unsafe is not None or name in self._standbys:
            self._tell("fell", standby=name)
            return
        launch = self._launch(parse_order({"replica": name, "cwd": "/"}), (), os.getpid())
        if message.get("load"):
            launch = replace(launch, ahead_dir=self._plan.ahead_dir)
        pid, words = self._standbys.fork(name, message.get("cgroups") or (), launch)
        self._selector.register(words, selectors.EVENT_READ, lambda: self._hear_standby(name))
        self._tell("standing", standby=name, pid=pid)

    def _hear_standby(self, name: str) -> None:
        """Pass on what it says: that it has loaded its model, or why it could not."""
        word = self._standbys.receive(name, self._selector.unregister)
        if word is not None:
            self._tell("loaded_ahead", standby=name, **word)

    def _launch(
        self, order: ReplicaOrder, descriptors: Sequence[int], parent: int
    ) -> replica_process.Launch:
        return replica_process.Launch(
            order=order,
            descriptors=descriptors,
            parent=parent,
            path=self._plan.program,
            paths=self._plan.paths,
            module=self._held.module,
            handler=self._held.handler,
            keep=self._held.keep,
            mark=self._mark,
            torch_threads=self._held.torch_threads,
            baseline=self._baseline,
        )

    def _signal(self, name: str, number: int) -> None:
        living = self._replicas.get(name)
        if living is not None:
            orphans.send_to_group(living.pid, number)

    def _sweep(self, name: str) -> None:
        living = self._replicas.get(name)
        if living is not None:
            self._kill(living)
        else:
            orphans.kill_until_gone(lambda: orphans.processes_of_replica(name, None, ()))
        self._reap()

    def _reap(self) -> None:
        """Reap all that died; a replica is swept while its zombie still keeps its number taken."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            living = next((r for r in self._replicas.values() if r.pid == dead.si_pid), None)
            if living is not None:
                self._kill(living)
            fallen = self._standbys.remove_dead(dead.si_pid, self._selector.unregister)
            if fallen is not None:
                self._tell("fell", standby=fallen)
            status = os.waitstatus_to_exitcode(os.waitpid(dead.si_pid, 0)[1])
            if living is not None:
                del self._replicas[living.order.replica]
                self._tell("exited", replica=living.order.replica, pid=living.pid, status=status)

    def _kill(self, living: _Living) -> None:
        """Kill all of a replica; with no other one left, also what cannot be told whose it is."""
        order = living.order
        is_last = len(self._replicas) == 1
        orphans.kill_cgroups(order.cgroups)
        is_gone = orphans.kill_until_gone(
            self._strays
            if is_last
            else lambda: orphans.processes_of_replica(
                order.replica, living.pid, order.cgroups, self._others(living)
            )
        )
        if not is_gone:
            _remark(f"replica {order.replica} left processes that do not die")

    def _strays(self) -> list[orphans.Process]:
        """Return all that lives below us, except what the import started and what stands by."""
        return orphans.alive_below(os.getpid(), self._own_children | self._standbys.pids)

    def _others(self, living: _Living) -> frozenset[int]:
        """Return processes of ours below which nothing of a replica can be."""
        others = (other.pid for other in self._replicas.values() if other is not living)
        return self._standbys.pids.union(others)

    def _kill_all(self) -> None:
        for living in self._replicas.values():
            orphans.kill_cgroups(living.order.cgroups)
        self._standbys.kill()
        orphans.kill_until_gone(lambda: orphans.alive_below(os.getpid(), frozenset()))


def _plan(message: dict[str, Any]) -> TemplatePlan:
    return TemplatePlan(
        program=message["program"],
        paths=list(message["paths"]),
        model_dir=message.get("model_dir"),
        setup_dir=message.get("setup_dir"),
        learned=list(message.get("learned") or ()),
    )


def _do_nothing(*_: object) -> None:
    """Stand in for a handler: only the byte on the wakeup socket matters."""


def _remark(text: str) -> None:
    print(f"coldspark: {text}", file=sys.stderr, flush=True)


def run(descriptor: int, plan: str | None = None) -> NoReturn:
    """Be a template on the socket ``descriptor``; ``plan`` comes from ``_start_over``."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.set_inheritable(descriptor, False)
    kernel_calls.become_subreaper()
    template = TemplateProcess(socket.socket(fileno=descriptor))
    if plan is not None:
        template.resume(TemplatePlan.from_json(plan))
    template.serve()
