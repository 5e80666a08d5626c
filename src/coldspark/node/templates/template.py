"""One template process: start it, have it import, fork replicas from it, notice when it dies.

A template that dies takes its replicas with it (parent-death signal); each of its users hears
``on_template_lost`` once.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from coldspark.node import processes, worker
from coldspark.node.cgroups import Cgroup, CgroupLimits
from coldspark.node.logs.log_pipe import LogPipe
from coldspark.node.templates.events import TemplateEvent, decode_event, failure_of
from coldspark.node.templates.fork_order import (
    ForkOrder,
    Standby,
    TemplateFailure,
    TemplateKey,
    TemplateUser,
)
from coldspark.node.templates.learned_imports import LearnedImports
from coldspark.node.worker.control import PACKET_MAX_BYTES
from coldspark.spec.types import ReplicaId, RootCause

BOOTSTRAP = Path(worker.__file__).parent / "bootstrap.py"
_OUTBOX_MAX = 1_000
_MAX_DESCRIPTORS = 3
_log = logging.getLogger(__name__)


_encode = msgspec.json.Encoder().encode


class Template:
    """A running template. ``users`` are the replicas that wait for it or were forked from it."""

    def __init__(
        self,
        key: TemplateKey,
        environment: Mapping[str, str],
        on_ended: Callable[["Template"], None],
        cgroup: Cgroup | None = None,
        *,
        learned: Sequence[str] = (),
        on_loaded_ahead: Callable[["Template", int], None] | None = None,
    ) -> None:
        """``learned`` are modules to import besides the program's own."""
        self.key = key
        self.cgroup = cgroup
        self.learned = LearnedImports(asked=tuple(learned))
        self.users: dict[ReplicaId, TemplateUser] = {}
        self.failure: TemplateFailure | None = None
        self.import_us: int | None = None
        self.is_dropped = False
        """Whether it was told to end."""
        self.load_us: int | None = None
        """How long loading the model took before the fork; None: it was not loaded there."""
        self.load_private_bytes: int | None = None
        """By how much that made its private memory grow: a fork copies the page tables of it."""
        self.is_fork_safe = True
        """Whether its program is imported before the fork."""
        self.has_model = False
        """Whether its model is loaded before the fork."""
        self.has_setup = False
        """Whether the program's ``setup_fn`` has run before the fork."""
        self.loads_ahead = False
        """Whether a process that stands by may load the model, which is unsafe before the fork."""
        self.ahead_us: int | None = None
        """How long that took the last time."""
        self.reason: str | None = None
        """Why model or program are not held before the fork."""
        self.bounds: CgroupLimits | None = None
        """Of its latest replica: the next standby gets them ahead, as the likeliest."""
        self.memory_bytes = 0
        """What it holds, as measured once it was prepared."""
        self.settled = asyncio.Event()
        """Set once it can be forked from, or has failed."""
        self.ended = asyncio.Event()
        self._standby: Standby | None = None
        self._standby_pid = 0
        self._is_standing = False
        self.standby_bytes = 0
        """What the process that stands by holds for itself, once it has loaded a model."""
        self._on_loaded_ahead = on_loaded_ahead
        self._fallen: list[Cgroup] = []
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self._tail: deque[str] = deque(maxlen=50)
        self._broken: TemplateFailure | None = None
        self._output = LogPipe(self._loop, self._printed)
        try:
            self._control, self._process = _start(key, environment, self._output.write_end)
        except (OSError, ValueError):
            self._output.close()
            raise
        self._output.close_write_end()
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._died)
        self._loop.add_reader(self._control, self._readable)
        program = None if key.program is None else str(key.program)
        model_dir = None if key.model_dir is None else str(key.model_dir)
        setup_dir = None if key.setup_dir is None else str(key.setup_dir)
        paths = [str(path) for path in key.paths]
        self._send(
            {
                "op": "prepare",
                "program": program,
                "paths": paths,
                "model_dir": model_dir,
                "setup_dir": setup_dir,
                "learned": learned,
                "cgroups": () if cgroup is None else cgroup.procs,
            }
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can still be forked from."""
        return self.failure is None

    @property
    def wants_standby(self) -> bool:
        """Whether a process could be forked ahead, and none is."""
        return self.is_alive and self.is_fork_safe and self._standby is None

    @property
    def has_standby(self) -> bool:
        """Whether a process stands by for the next order."""
        return self._is_standing

    @property
    def has_loaded_standby(self) -> bool:
        """Whether the process that stands by has loaded the model."""
        return self._is_standing and self.standby_bytes > 0

    def stand_by(self, standby: Standby) -> None:
        """Have a process forked ahead of its order; it loads the model if ``loads_ahead``."""
        assert self._standby is None
        self._standby, self._is_standing = standby, False
        cgroups = () if standby.cgroup is None else standby.cgroup.procs
        self._send(
            {
                "op": "stand_by",
                "standby": standby.name,
                "cgroups": cgroups,
                "load": self.loads_ahead,
            }
        )

    @property
    def standby_pid(self) -> int | None:
        """The process that stands by."""
        return self._standby_pid if self._is_standing else None

    @property
    def is_broken(self) -> bool:
        """Whether its program could not be imported, in its own words."""
        return self._broken is not None

    def holds_no_less_than(self, other: "Template") -> bool:
        """Return whether what replicas get from it is at least what they get from the other."""
        mine = (self.is_fork_safe, self.has_setup, self.has_model)
        return mine >= (other.is_fork_safe, other.has_setup, other.has_model)

    def give_up_loading_ahead(self, why: str) -> None:
        """Have no process load the model ahead any more; end the one that did."""
        self.loads_ahead = False
        self.reason = f"{self.reason}; {why}"
        if self._standby is not None and self._standby.cgroup is not None:
            self._standby.cgroup.kill()

    def take_standby(self) -> Standby | None:
        """Return the process that stands by, if one does: it is the caller's from here."""
        if not self._is_standing:
            return None
        taken, self._standby, self._is_standing = self._standby, None, False
        self.standby_bytes = 0
        return taken

    def describe(self) -> str:
        """Say what replicas get from it, or why they do not get all."""
        words = f"fork of template {self.key.file_name} (pid {self.pid})"
        if not self.is_fork_safe:
            return f"{words}, imported after the fork: {self.reason}"
        if self.has_model:
            return f"{words}, with its model"
        if self.has_setup:
            words = f"{words}, set up"
        return words if self.reason is None else f"{words}; {self.reason}"

    def take_dead_standbys(self) -> list[Cgroup]:
        """Return the cgroups of processes that ended unused."""
        fallen, self._fallen = self._fallen, []
        return fallen

    def fork(self, order: ForkOrder, descriptors: Sequence[int]) -> None:
        """Fork a replica. The descriptors (stdout, stderr, channel) stay the caller's to close."""
        message = {
            "op": "fork",
            "replica": order.replica,
            "argv": order.argv,
            "environment": order.environment,
            "cwd": str(order.cwd),
            "model_dir": None if order.model_dir is None else str(order.model_dir),
            "concurrency": order.concurrency,
            "cgroups": order.cgroups,
            "uid": None,
            "processes_max": order.processes_max,
            "standby": order.standby,
            "multi_model": order.multi_model,
            "batch_size_max": order.batch_size_max,
            "batch_wait_s": order.batch_wait_s,
        }
        packet = _encode(message)
        if len(packet) > PACKET_MAX_BYTES:
            raise ValueError(
                f"the replica's order has {len(packet)} bytes; at most {PACKET_MAX_BYTES}: shorten"
                " its environment variables or its command"
            )
        self._send_packet(packet, [os.dup(descriptor) for descriptor in descriptors])

    def signal(self, replica: ReplicaId, number: int) -> None:
        """Signal a replica's process group."""
        self._send({"op": "signal", "replica": replica, "signal": number})

    def hang_up(self) -> None:
        """End it the gentle way: it sees its socket end, kills its forks and exits."""
        self.is_dropped = True
        self._close_control()

    def kill(self) -> None:
        """SIGKILL it."""
        if self.failure is None:
            processes.kill(self._pidfd)

    def _readable(self) -> None:
        for _ in range(64):
            if self._control.fileno() < 0:
                return
            try:
                packet = self._control.recv(PACKET_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                # Without its socket it is of no use, whatever it still does.
                self._close_control()
                processes.kill(self._pidfd)
                return
            self._heard(packet)

    def _heard(self, packet: bytes) -> None:
        try:
            event = decode_event(packet)
        except msgspec.MsgspecError:
            _log.error("template %s sent what is no event; killing it", self.key.label)
            processes.kill(self._pidfd)
            return
        if event.event == "prepared":
            self.import_us, self.load_us = event.import_us, event.load_us
            self.has_setup, self.loads_ahead = event.has_setup, event.loads_ahead
            self.learned.imported(event.learned, event.learned_us, event.denied)
            self.load_private_bytes = event.load_private_bytes
            self.is_fork_safe, self.has_model = event.fork_safe, event.has_model
            self.reason = event.reason
            self.settled.set()
        elif event.event in ("standing", "fell", "loaded_ahead"):
            self._hear_of_standby(event)
        elif event.event == "broken":
            self._broken = failure_of(event)
        elif (user := self.users.get(ReplicaId(event.replica))) is not None:
            self._tell(user, event)

    def _hear_of_standby(self, event: TemplateEvent) -> None:
        if self._standby is None or self._standby.name != event.standby:
            return
        if event.event == "standing":
            self._is_standing, self._standby_pid = True, event.pid
        elif event.event == "fell":
            self._drop_standby()
        elif event.trouble is not None:
            self.loads_ahead = False
            self.reason = f"{self.reason}; loading it ahead of an order failed: {event.trouble}"
        elif self._on_loaded_ahead is not None:
            self.ahead_us = event.load_us
            self._on_loaded_ahead(self, self._standby_pid)

    def _drop_standby(self) -> None:
        if self._standby is not None and self._standby.cgroup is not None:
            self._fallen.append(self._standby.cgroup)
        self._standby, self._is_standing, self.standby_bytes = None, False, 0

    def _tell(self, user: TemplateUser, event: TemplateEvent) -> None:
        if event.event == "forked":
            user.on_forked(event.pid)
        elif event.event == "exited":
            user.on_process_exited(event.status)
        elif event.event == "fork_failed":
            user.on_fork_failed(event.message)

    def _printed(self, data: bytes) -> None:
        self._tail.extend(data.decode("utf-8", "replace").splitlines())
        for user in list(self.users.values()):
            user.on_template_output(data)

    def _send(self, message: dict[str, object]) -> None:
        self._send_packet(_encode(message), [])

    def _send_packet(self, packet: bytes, descriptors: list[int]) -> None:
        if self._control.fileno() < 0 or len(self._outbox) >= _OUTBOX_MAX:
            # A template that reads nothing for so long is lost; its death ends its users.
            _close(descriptors)
            self.kill()
            return
        self._outbox.append((packet, descriptors))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outbox:
            packet, descriptors = self._outbox[0]
            try:
                socket.send_fds(self._control, [packet], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._control, self._flush)
                return
            except OSError:
                # It has died; the pidfd says so.
                pass
            _close(descriptors)
            self._outbox.popleft()
        self._loop.remove_writer(self._control)

    def _close_control(self) -> None:
        if self._control.fileno() < 0:
            return
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()
        while self._outbox:
            _close(self._outbox.popleft()[1])

    def _died(self) -> None:
        """Hear its last words, then tell its users."""
        self._loop.remove_reader(self._pidfd)
        if self._control.fileno() >= 0:
            self._readable()
        self._close_control()
        self._output.drain()
        status = self._process.wait()
        os.close(self._pidfd)
        self.failure = self._verdict(status)
        self._drop_standby()
        self.settled.set()
        self.ended.set()
        self._on_ended(self)
        for user in list(self.users.values()):
            user.on_template_lost(self.failure)

    def _verdict(self, status: int) -> TemplateFailure:
        tail = tuple(self._tail)
        if self._broken is None:
            cause, message = self._cause_of_death(status)
            return TemplateFailure(cause=cause, message=message, log_tail=tail, exit_status=status)
        lines = self._broken.log_tail
        if lines and lines[-1] not in tail:
            tail = (*tail, *lines)
        return TemplateFailure(
            cause=self._broken.cause,
            message=self._broken.message,
            log_tail=tail[-50:],
            exit_status=status,
        )

    def _cause_of_death(self, status: int) -> tuple[RootCause, str]:
        if self.cgroup is not None and self.cgroup.oom_kills():
            message = (
                "The kernel ended it for its memory while it loaded the model (the limit is"
                f" {self.key.memory_bytes} bytes): raise memory, or load a smaller model"
            )
            return RootCause.OUT_OF_MEMORY, message
        cause = RootCause.KILLED if status < 0 else RootCause.UNKNOWN
        return cause, "The template that it was forked from died"


def _start(
    key: TemplateKey, environment: Mapping[str, str], output: int
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        descriptor = theirs.fileno()
        argv = [str(key.interpreter), "-P", str(BOOTSTRAP), str(descriptor)]
        try:
            process = processes.spawn(argv, environment, output, [descriptor])
        except (OSError, ValueError):
            ours.close()
            raise
    return ours, process


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


SIGTERM, SIGKILL = int(signal.SIGTERM), int(signal.SIGKILL)
