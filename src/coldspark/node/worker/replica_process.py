"""Become a replica: what the child does between fork (or exec) and its first call.

Order matters: signals first, cgroups and limits before the uid is dropped, the parent-death signal
after it (dropping the uid clears it), the revision's environment last. What needs no order may be
done ahead, by a process that stands by: joining a cgroup alone costs a grace period of the kernel's
(5-15 ms on an idle machine), and forking a large template as much again.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import NoReturn

from . import (
    batch_server,
    control,
    frames,
    kernel_calls,
    model_cache,
    multi_model_server,
    program,
    server,
)
from .control import ReplicaOrder, parse_order
from .handler import ProgramHandler
from .learned_imports import ImportObserver
from .process_tag import ProcessTag

EXIT_EXEC_FAILED = 127
EXIT_BUG = 70


@dataclass(frozen=True)
class Launch:
    """All that makes a new process a replica."""

    order: ReplicaOrder
    descriptors: Sequence[int]
    """stdout, stderr, and a handler's channel."""
    parent: int
    path: str | None
    """The user's program, and where its imports are looked for."""
    paths: Sequence[str]
    module: ModuleType | None = None
    """The program, if it came imported with the fork."""
    handler: ProgramHandler | None = None
    """The program with what was loaded before the fork: its model, or what it could set up."""
    ahead_dir: str | None = None
    """Of one that stands by: load the model from there before the order comes."""
    baseline: Collection[str] = ()
    """The modules that came with the fork."""
    keep: Iterable[int] = ()
    """Descriptors that the program opened at import: they stay open."""
    mark: ProcessTag | None = None
    torch_threads: int | None = None
    """What torch would have used, had the template not turned it down to fork safely."""
    is_apart: bool = False
    """It stood by: it has left the template already."""


def run_alone(descriptor: int) -> NoReturn:
    """Be a replica in a fresh interpreter: the order comes through ``descriptor``."""
    with socket.socket(fileno=descriptor) as orders:
        data, descriptors, _, _ = socket.recv_fds(
            orders, 2 * control.PACKET_MAX_BYTES, 3, socket.MSG_CMSG_CLOEXEC
        )
    message = json.loads(data)
    run(
        Launch(
            order=parse_order(message["order"]),
            descriptors=descriptors,
            parent=message["parent"],
            path=message["program"],
            paths=message["paths"],
        )
    )


def run(launch: Launch) -> NoReturn:
    """Become the replica and do its work; whatever happens, this never returns."""
    status = EXIT_BUG
    try:
        status = _live(launch)
    except BaseException:  # noqa: BLE001  the process's outermost edge: nothing may unwind past it
        traceback.print_exc()
    finally:
        program.flush_output()
        os._exit(status)


def _live(launch: Launch) -> int:
    channel = socket.socket(fileno=launch.descriptors[2]) if launch.order.argv is None else None
    try:
        _become(launch)
    except OSError as error:
        return _refuse(channel, error)
    if channel is None:
        return _execute(launch.order)
    return _serve(launch, channel)


def stand_by(orders: socket.socket, cgroups: Sequence[str], launch: Launch) -> NoReturn:
    """Leave the template behind, and wait for the order to be a replica; its end ends this."""
    try:
        _leave(cgroups, {orders.fileno(), *launch.keep}, launch.parent)
        launch = _get_ahead(launch, orders)
        data, descriptors, _, _ = socket.recv_fds(
            orders, control.PACKET_MAX_BYTES, 3, socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            os._exit(0)
        orders.close()
        order = parse_order(json.loads(data))
        run(replace(launch, order=order, descriptors=descriptors, is_apart=True))
    except BaseException:  # noqa: BLE001  the process's outermost edge: nothing may unwind past it
        traceback.print_exc()
    finally:
        os._exit(EXIT_BUG)


def _get_ahead(launch: Launch, words: socket.socket) -> Launch:
    """Do what needs no order, so that no request waits for it: each first touch copies a page."""
    _wake_libraries(launch)
    if launch.handler is not None and launch.handler.is_loaded:
        launch.handler.warm_up()
    if launch.ahead_dir is None or launch.module is None:
        return launch
    started_ns = time.perf_counter_ns()
    trouble = None
    try:
        handler = launch.handler or ProgramHandler(launch.module)
        handler.load(launch.ahead_dir)
        handler.warm_up()
        launch = replace(launch, handler=handler)
    except BaseException as error:  # noqa: BLE001  it is the user's code: anything may come
        # Tried again with the order, whose failure it then is.
        print(program.user_traceback(error), file=sys.stderr)
        trouble, launch = program.message(error), replace(launch, handler=None)
    program.flush_output()
    load_us = (time.perf_counter_ns() - started_ns) // 1000
    _say(words, {"load_us": load_us, "trouble": trouble})
    return launch


def _say(words: socket.socket, word: dict[str, object]) -> None:
    try:
        words.send(json.dumps(word).encode(), socket.MSG_NOSIGNAL)
    except OSError:
        return  # Its order is here already: nobody listens any more.


def _leave(cgroups: Sequence[str], kept: set[int], parent: int) -> None:
    """Be a process of its own: session, cgroups, descriptors, and an end with the template's."""
    _reset_signals()
    os.setsid()
    join_cgroups(cgroups)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _close_others(kept)
    _die_with(parent)


def _become(launch: Launch) -> None:
    """Leave the template behind. Raises OSError when the order cannot be met."""
    order = launch.order
    _redirect(launch.descriptors)
    if not launch.is_apart:
        _leave(order.cgroups, {*launch.descriptors[2:], *launch.keep}, launch.parent)
    if order.argv is None:
        # Python code expects BrokenPipeError, not death.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if order.uid is not None:
        _drop_privileges(order.uid, order.gid, order.processes_max)
        _die_with(launch.parent)
    os.chdir(order.cwd)
    os.environ.update(order.environment)
    if launch.mark is not None:
        launch.mark.write(order.replica)
    if order.argv is None and not launch.is_apart:
        _wake_libraries(launch)


def _reset_signals() -> None:
    """Undo the template's handlers, and the blocking of all signals around the fork."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _redirect(descriptors: Sequence[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (descriptors[0], 1), (descriptors[1], 2)):
        os.dup2(descriptor, standard)
        if descriptor > 2:
            os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        # The program may have put something else in their place.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)


def join_cgroups(paths: Sequence[str]) -> None:
    """Enter the cgroups whose ``cgroup.procs`` these are; what cannot be entered is told."""
    for path in paths:
        try:
            kernel_calls.write(path, b"0")
        except OSError as error:
            print(f"coldspark: limits do not apply: {path}: {error}", file=sys.stderr)


def _close_others(keep: set[int]) -> None:
    """Close what the template holds: its socket, its wakeup, the locks of others."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue  # The listing's own descriptor.


def _drop_privileges(uid: int, gid: int | None, processes_max: int | None) -> None:
    if processes_max is not None:
        # Counted by uid, so it would hit strangers when the uid is shared.
        resource.setrlimit(resource.RLIMIT_NPROC, (processes_max, processes_max))
    os.setgroups([])
    os.setgid(uid if gid is None else gid)
    os.setuid(uid)
    kernel_calls.forbid_new_privileges()


def _die_with(parent: int) -> None:
    """Ask to be killed when the template dies, and see whether it died before we asked."""
    kernel_calls.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(control.EXIT_ORPHANED)


def _wake_libraries(launch: Launch) -> None:
    """Give the child its own randomness and its threads (``random`` reseeds itself at a fork)."""
    gc.enable()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    torch = sys.modules.get("torch")
    if torch is not None and launch.module is not None:
        torch.manual_seed(int.from_bytes(os.urandom(7), "big"))
        # The template's environment holds the spec's own variables.
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(wanted) if wanted.isdigit() else launch.torch_threads
        torch.set_num_threads(max(1, threads or 1))


def _refuse(channel: socket.socket | None, error: OSError) -> int:
    print(f"coldspark: cannot start the replica: {error}", file=sys.stderr)
    if channel is not None:
        broken = {"cause": program.UNKNOWN, "message": program.message(error), "traceback": ""}
        channel.sendall(frames.encode_json(frames.BROKEN, 0, broken))
    return control.EXIT_BOOT_FAILED


def _execute(order: ReplicaOrder) -> int:
    """Become the command; return only when that fails."""
    assert order.argv is not None
    try:
        os.execvpe(order.argv[0], order.argv, os.environ)
    except OSError as error:
        reason = error.strerror or str(error)
        print(f"coldspark: cannot run {order.argv[0]!r}: {reason}", file=sys.stderr)
        return EXIT_EXEC_FAILED


def _serve(launch: Launch, channel: socket.socket) -> int:
    """Load the model, say so, and serve until the router hangs up (which ends the process)."""
    channel.sendall(frames.encode_json(frames.BOOTED, 0, {}))
    started_ns = time.perf_counter_ns()
    try:
        handler = _load(launch)
    except BaseException as error:  # noqa: BLE001  it is the user's code: anything may come
        return _break(channel, error)
    program.flush_output()
    load_us = (time.perf_counter_ns() - started_ns) // 1000
    channel.sendall(
        frames.encode_json(frames.READY, 0, {"load_us": load_us, "parks": handler.parks})
    )
    _server(channel, handler, launch).run()
    return 0


def _server(
    channel: socket.socket, handler: ProgramHandler, launch: Launch
) -> server.HandlerServer:
    order, observer = launch.order, _observer(launch)
    if order.room is not None:
        loaded = model_cache.ModelCache(handler.module, order.room)
        return multi_model_server.MultiModelServer(
            channel, handler, loaded, order.concurrency, observer
        )
    if order.batch_size_max == 1:
        return server.HandlerServer(channel, handler, order.concurrency, observer)
    size_max, wait_s = order.batch_size_max, order.batch_wait_s
    return batch_server.BatchServer(channel, handler, size_max, wait_s, observer)


def _observer(launch: Launch) -> ImportObserver | None:
    """Return what tells of later imports; a fresh interpreter has no template that could learn."""
    if not launch.baseline:
        return None
    return ImportObserver(launch.baseline, launch.paths)


def _load(launch: Launch) -> ProgramHandler:
    if launch.order.room is not None:
        # Its models come with its calls.
        program_of_many = ProgramHandler(_module(launch))
        multi_model_server.check(program_of_many)
        return program_of_many
    handler = launch.handler
    if handler is not None:
        _check(handler, launch.order)
        if not handler.is_loaded:
            handler.load(launch.order.model_dir or launch.order.cwd)
        handler.warm_up()
        return handler
    handler = ProgramHandler(_module(launch))
    _check(handler, launch.order)
    handler.load(launch.order.model_dir or launch.order.cwd)
    handler.warm_up()
    return handler


def _module(launch: Launch) -> ModuleType:
    if launch.module is not None:
        return launch.module
    if launch.path is None:
        raise program.HandlerInvalid("the order names no command, and the template no program")
    return program.load(launch.path, launch.paths)


def _check(handler: ProgramHandler, order: ReplicaOrder) -> None:
    """Raise HandlerInvalid when the program cannot do what the order asks of it."""
    if order.batch_size_max > 1:
        handler.check_batching(order.batch_size_max)


def _break(channel: socket.socket, error: BaseException) -> int:
    breakage = program.explain(error)
    print(breakage.traceback, file=sys.stderr)
    program.flush_output()
    channel.sendall(frames.encode_json(frames.BROKEN, 0, vars(breakage)))
    return control.EXIT_BOOT_FAILED
