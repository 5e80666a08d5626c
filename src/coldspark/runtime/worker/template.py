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
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from . import (
    control,
    forksafety,
    handler,
    mark,
    media,
    output,
    prctl,
    program,
    remains,
    replica,
    spawning,
)
from .order import Order, parse
from .standbys import Standbys, forked
from .stopwatch import Stopwatch, Times

_DESCRIPTORS_MAX = 8
_EXIT_BUG = 70


@dataclass(frozen=True)
class _Living:
    """A replica whose process has not been reaped."""

    order: Order
    pid: int


class Template:
    """Everything between a control socket and the processes forked for it."""

    def __init__(self, supervisor: socket.socket) -> None:
        self._supervisor = supervisor
        self._mark = mark.Mark()
        self._path: str | None = None
        self._paths: list[str] = []
        self._model_dir: str | None = None
        self._module: ModuleType | None = None
        self._handler: handler.Handler | None = None
        self._is_prepared = False
        self._reason: str | None = None
        """Why replicas are not forked."""
        self._lost_model: str | None = None
        """Why they are forked without the model."""
        self._keep: frozenset[int] = frozenset()
        self._torch_threads: int | None = None
        self._replicas: dict[str, _Living] = {}
        self._standbys = Standbys()
        self._own_children: frozenset[int] = frozenset()
        self._is_ending = False
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
        selector = selectors.PollSelector()
        selector.register(self._supervisor, selectors.EVENT_READ)
        selector.register(self._wakeup, selectors.EVENT_READ)
        while not self._is_ending:
            for key, _ in selector.select():
                if key.fileobj is self._supervisor:
                    self._receive()
                else:
                    self._wake()

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
            replica.join_cgroups(message.get("cgroups") or ())
            self._prepare(message["program"], message["paths"], message.get("model_dir"))
        elif op == "stand_by":
            self._stand_by(message["standby"], message.get("cgroups") or ())
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

    def _prepare(self, path: str | None, paths: list[str], model_dir: str | None) -> None:
        if self._is_prepared:
            raise ValueError("prepared already")
        before, environment = _open_descriptors(), dict(os.environ)
        # While the import blocks us, nobody would see the end of the socket.
        prctl.set_parent_death_signal(signal.SIGKILL)
        stopwatch = Stopwatch()
        self._path, self._paths, self._model_dir = path, paths, model_dir
        try:
            self._import(path, paths)
        except BaseException as error:  # noqa: BLE001  importing runs user code: anything may come
            self._break(error)
        stopwatch.imported()
        trouble = self._load_model(model_dir)
        stopwatch.loaded(is_held=self._handler is not None)
        self._keep = frozenset(_open_descriptors() - before)
        self._torch_threads = forksafety.settle()
        reason = trouble or forksafety.reason_against_fork()
        if reason is None and self._handler is not None:
            reason = forksafety.socket_opened(self._keep)
        if reason is not None:
            self._start_over(environment, stopwatch.times, reason)
        self._own_children = frozenset(p.pid for p in remains.descendants(os.getpid()))
        self._begin(stopwatch.times)

    def _start_over(self, environment: dict[str, str], times: Times, reason: str) -> NoReturn:
        """Become a template that holds no program; the process and its socket stay the same."""
        self._kill_all()
        output.flush()
        verdict = {
            "program": self._path,
            "paths": self._paths,
            "times": times,
            "reason": reason,
            "had_model": self._model_dir is not None,
        }
        descriptor = self._supervisor.fileno()
        os.set_inheritable(descriptor, True)
        command = spawning.command(descriptor, "--unsafe", json.dumps(verdict))
        os.execve(sys.executable, command, environment)

    def resume(self, verdict: dict[str, Any]) -> None:
        """Go on as the template of what was found unsafe to fork: one rung lower."""
        self._path, self._paths = verdict["program"], verdict["paths"]
        if verdict["had_model"]:
            # Perhaps the imports alone are safe.
            self._lost_model = f"its model is loaded after the fork: {verdict['reason']}"
            self._prepare(self._path, self._paths, None)
            return
        self._reason = verdict["reason"]
        self._begin({"import_us": verdict["times"]["import_us"]})

    def _begin(self, times: Times) -> None:
        """Take orders from now on, and say so."""
        self._watch_signals()
        prctl.set_parent_death_signal(0)
        self._is_prepared = True
        self._tell(
            "prepared",
            **times,
            fork_safe=self._reason is None,
            reason=self._reason or self._lost_model,
            has_model=self._handler is not None,
        )

    def _import(self, path: str | None, paths: list[str]) -> None:
        if path is None:
            return
        # Where its replicas will be, for what it reads by relative paths.
        os.chdir(os.path.dirname(path) or ".")
        self._module = program.load(path, paths)
        if handler.uses_default_codecs(self._module):
            media.numpy()

    def _load_model(self, model_dir: str | None) -> str | None:
        """Load the model, if that is wanted here; say why it could not be, if it could not."""
        if model_dir is None or self._module is None:
            return None
        try:
            self._handler = handler.Handler(self._module)
            self._handler.load(model_dir)
        except BaseException as error:  # noqa: BLE001  it is the user's code: anything may come
            # The replica will try again, and tell it as its own failure if it is one.
            return f"loading it here failed: {program.message(error)}"
        return None

    def _break(self, error: BaseException) -> NoReturn:
        breakage = program.explain(error)
        print(breakage.traceback, file=sys.stderr)
        output.flush()
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
            order = parse(message)
            self._check(order, descriptors)
            standby = self._standbys.send(order.standby, message, descriptors)
            if standby is not None:
                pid = standby
            elif self._reason is None:
                pid = self._fork_replica(order, descriptors)
            else:
                pid = spawning.spawn(message, self._path, self._paths, descriptors)
        except (ValueError, OSError) as error:
            self._tell("fork_failed", replica=name, message=str(error))
            return
        self._replicas[name] = _Living(order, pid)
        self._tell("forked", replica=name, pid=pid)

    def _check(self, order: Order, descriptors: Sequence[int]) -> None:
        if not self._is_prepared:
            raise ValueError("the template is not prepared")
        if order.replica in self._replicas:
            raise ValueError(f"replica {order.replica} exists")
        if len(descriptors) != order.descriptors:
            raise ValueError(f"{len(descriptors)} descriptors came; {order.descriptors} needed")

    def _fork_replica(self, order: Order, descriptors: Sequence[int]) -> int:
        parent = os.getpid()
        return forked(lambda: replica.run(self._launch(order, descriptors, parent)))

    def _stand_by(self, name: str, cgroups: Sequence[str]) -> None:
        """Fork a process ahead of its order."""
        if not self._is_prepared or self._reason is not None or name in self._standbys:
            self._tell("fell", standby=name)
            return
        launch = self._launch(parse({"replica": name, "cwd": "/"}), (), os.getpid())
        pid = self._standbys.fork(name, cgroups, launch)
        self._tell("standing", standby=name, pid=pid)

    def _launch(self, order: Order, descriptors: Sequence[int], parent: int) -> replica.Launch:
        return replica.Launch(
            order=order,
            descriptors=descriptors,
            parent=parent,
            path=self._path,
            paths=self._paths,
            module=self._module,
            handler=self._handler,
            keep=self._keep,
            mark=self._mark,
            torch_threads=self._torch_threads,
        )

    def _signal(self, name: str, number: int) -> None:
        living = self._replicas.get(name)
        if living is not None:
            remains.send_to_group(living.pid, number)

    def _sweep(self, name: str) -> None:
        living = self._replicas.get(name)
        if living is not None:
            self._kill(living)
        else:
            remains.kill_until_gone(lambda: remains.of_replica(name, None, ()))
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
            if (fallen := self._standbys.fall(dead.si_pid)) is not None:
                self._tell("fell", standby=fallen)
            status = os.waitstatus_to_exitcode(os.waitpid(dead.si_pid, 0)[1])
            if living is not None:
                del self._replicas[living.order.replica]
                self._tell("exited", replica=living.order.replica, pid=living.pid, status=status)

    def _kill(self, living: _Living) -> None:
        """Kill all of a replica; with no other one left, also what cannot be told whose it is."""
        order = living.order
        is_last = len(self._replicas) == 1
        remains.kill_cgroups(order.cgroups)
        is_gone = remains.kill_until_gone(
            self._strays
            if is_last
            else lambda: remains.of_replica(
                order.replica, living.pid, order.cgroups, self._others(living)
            )
        )
        if not is_gone:
            _remark(f"replica {order.replica} left processes that do not die")

    def _strays(self) -> list[remains.Process]:
        """Return all that lives below us, except what the import started and what stands by."""
        return remains.alive_below(os.getpid(), self._own_children | self._standbys.pids)

    def _others(self, living: _Living) -> frozenset[int]:
        """Return processes of ours below which nothing of a replica can be."""
        others = (other.pid for other in self._replicas.values() if other is not living)
        return self._standbys.pids.union(others)

    def _kill_all(self) -> None:
        for living in self._replicas.values():
            remains.kill_cgroups(living.order.cgroups)
        self._standbys.kill()
        remains.kill_until_gone(lambda: remains.alive_below(os.getpid(), frozenset()))


def _open_descriptors() -> set[int]:
    # Checked once more, for the listing has a descriptor of its own, gone by then.
    return {int(name) for name in os.listdir("/proc/self/fd") if _is_open(int(name))}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _do_nothing(*_: object) -> None:
    """Stand in for a handler: only the byte on the wakeup socket matters."""


def _remark(text: str) -> None:
    print(f"coldspark: {text}", file=sys.stderr, flush=True)


def run(descriptor: int, verdict: str | None = None) -> NoReturn:
    """Be a template on the socket ``descriptor``; ``verdict`` comes from ``_start_over``."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.set_inheritable(descriptor, False)
    prctl.become_subreaper()
    template = Template(socket.socket(fileno=descriptor))
    if verdict is not None:
        template.resume(json.loads(verdict))
    template.serve()
