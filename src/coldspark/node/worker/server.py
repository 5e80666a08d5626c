"""Serve a handler on its channel: blocking threads, no event loop.

With a concurrency of 1 the handler runs in the main thread, as programs expect. That thread also
reads the channel while it is idle, so that a call costs no switch of threads; while the handler
runs, a watch thread reads instead, and finds cancellations, credit and the end. With a higher
concurrency the main thread reads, and up to that many lanes run calls, each started when first
needed.

SIGUSR1 interrupts the main thread's call (see ``calls``): a program that takes that signal for
itself cannot be cancelled.

The end of the channel means that the router is gone: nobody can want the work any more, and the
process exits at once.
"""

from __future__ import annotations

import mmap
import os
import queue
import select
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from . import frames, header_cache, media_types, program
from .calls import CallCancelled, CallLane, MainLane, ReplicaCall, ThreadLane, Work
from .handler import HandlerReply, ProgramHandler, to_bytes
from .learned_imports import ImportObserver

EXIT_CHANNEL_ENDED = 0
EXIT_CHANNEL_BROKEN = 70
EXIT_BUG = 70
CALLS_MAX = 10_000
_READ_BYTES = 256 * 1024


class HandlerServer:
    """Everything between a channel and a loaded handler."""

    def __init__(
        self,
        channel: socket.socket,
        handler: ProgramHandler,
        concurrency: int,
        observer: ImportObserver | None = None,
    ) -> None:
        self._channel = channel
        self._observer = observer
        self._handler = handler
        self._concurrency = concurrency
        self._lanes = 0
        self._active = 0
        """Calls that were handed to the lanes and have not ended."""
        self._calls: dict[int, ReplicaCall] = {}
        self._queue: queue.SimpleQueue[ReplicaCall] = queue.SimpleQueue()
        self._state = threading.Condition(threading.Lock())
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._decoder = frames.Decoder()
        self._call_heads = header_cache.CallHeaderDecoder()
        self._reply_heads = header_cache.ReplyHeaderEncoder()
        # Pages that the kernel makes when they are first used: most replicas read little.
        self._buffer = memoryview(mmap.mmap(-1, _READ_BYTES))

    def run(self) -> None:
        """Serve until the process ends."""
        # A child that the handler forks must neither hold the channel open nor answer on it.
        os.register_at_fork(after_in_child=self._channel.close)
        if self._concurrency == 1:
            self._run_main()
        while True:
            self._read()

    # Reading: by one thread at a time, which holds ``_reading``.

    def _read(self, flags: int = 0) -> None:
        """Take the frames that are there, or wait for some unless ``flags`` say not to."""
        try:
            size_bytes = self._channel.recv_into(self._buffer, 0, flags)
            if size_bytes == 0:
                os._exit(EXIT_CHANNEL_ENDED)
            for kind, number, payload in self._decoder.feed(self._buffer[:size_bytes]):
                self._take(kind, number, payload)
        except BlockingIOError:
            return
        except OSError:
            os._exit(EXIT_CHANNEL_ENDED)
        except (frames.FrameError, ValueError, KeyError) as error:
            print(f"coldspark: the channel broke: {error!r}", file=sys.stderr)
            os._exit(EXIT_CHANNEL_BROKEN)

    def _watch(self, watched: select.epoll) -> None:
        """Read whenever ``watched`` says so, which it does while a call runs."""
        while True:
            watched.poll()
            with self._reading:
                self._read(socket.MSG_DONTWAIT)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        if kind == frames.CALL:
            self._open(number, payload)
        elif kind == frames.BODY:
            self._extend(number, payload)
        elif kind == frames.CREDIT:
            self._grant(number, frames.read_credit(payload))
        elif kind == frames.CANCEL:
            self._cancel(number)
        elif kind in (frames.PARK, frames.UNPARK):
            self._run_hook(self._park if kind == frames.PARK else self._unpark)
        else:
            raise frames.FrameError(f"frame of kind {kind} from the router")

    def _open(self, number: int, payload: bytes) -> None:
        head, body = frames.split_headed(payload)
        call = ReplicaCall(number, self._call_heads.read(head))
        call.parts.append(body)
        with self._state:
            if number in self._calls or len(self._calls) >= CALLS_MAX:
                raise frames.FrameError(f"call {number} of {len(self._calls)} open ones")
            self._calls[number] = call
        if not call.has_more:
            self._hand_over(call)

    def _hand_over(self, call: ReplicaCall) -> None:
        """Give a whole call to the lanes, and see to it that one is or will be free."""
        with self._state:
            call.is_whole = True
            self._active += 1
            is_short = self._lanes < min(self._active, self._concurrency)
        if is_short and self._concurrency > 1:
            self._start_lane()
        self._queue.put(call)

    def _start_lane(self) -> None:
        try:
            _start(self._run_thread, f"coldspark-{self._lanes}")
        except RuntimeError as error:
            if not self._lanes:
                raise
            # The ones that there are serve on; this call waits its turn.
            print(
                f"coldspark: {error}: {self._lanes} of {self._concurrency} lanes run;"
                " raise [limits] processes, or lower the concurrency",
                file=sys.stderr,
            )
            self._concurrency = self._lanes
        else:
            self._lanes += 1

    def _extend(self, number: int, payload: bytes) -> None:
        call = self._calls.get(number)
        if call is None:
            return  # Cancelled while its body was under way.
        if payload:
            call.due_bytes -= len(payload)
            if call.due_bytes < 0:
                raise frames.FrameError(f"the body of call {number} is longer than announced")
            call.parts.append(payload)
        else:
            self._hand_over(call)

    def _grant(self, number: int, size_bytes: int) -> None:
        with self._state:
            call = self._calls.get(number)
            if call is not None:
                call.credit_bytes += size_bytes
                self._state.notify_all()

    def _cancel(self, number: int) -> None:
        with self._state:
            call = self._calls.get(number)
            if call is None or call.cancelled:
                return
            call.cancelled = True
            if call.lane is not None:
                call.lane.interrupt(call)
            call.is_told = True
            self._state.notify_all()
        if call.lane is None:
            self._finish(call, b"")

    def _park(self) -> None:
        self._handler.park()

    def _unpark(self) -> None:
        self._handler.unpark()

    def _run_hook(self, hook: Callable[[], None]) -> None:
        """Run it on the thread that reads: no call is open, and none comes before its end."""
        trouble = None
        try:
            hook()
        except Exception as error:  # noqa: BLE001  it is the user's code: anything may come
            trouble = program.message(error)
            program.print_error(program.user_traceback(error))
        program.flush_output()
        self._send(frames.encode_json(frames.PARKED, 0, {"trouble": trouble}))

    # The lanes' threads.

    def _run_main(self) -> None:
        watched, channel = select.epoll(), self._channel.fileno()
        watched.register(channel, 0)
        _start(lambda: self._watch(watched), "coldspark-watch")
        lane = MainLane()
        while True:
            work = self._next_work()
            watched.modify(channel, select.EPOLLIN)
            work(lane)
            watched.modify(channel, 0)

    def _next_work(self) -> Callable[[CallLane], None]:
        """Wait until the main thread has something to do, and return it."""
        while True:
            # A watch that woke late may still be reading; then the call is in the queue.
            with self._reading:
                if not self._queue.empty():
                    call = self._queue.get()
                    return lambda lane: self._perform(lane, call)
                self._read()

    def _run_thread(self) -> None:
        lane = ThreadLane()
        try:
            while True:
                self._perform(lane, self._queue.get())
        except BaseException:  # noqa: BLE001  a lane that died unnoticed would swallow calls
            traceback.print_exc()
            os._exit(EXIT_BUG)

    def _perform(self, lane: CallLane, call: ReplicaCall) -> None:
        """Run one call to its one last frame. An interrupt may come at any point of the loop."""
        last, has_run, is_settled = b"", False, False
        while not is_settled:
            try:
                if not has_run:
                    has_run = True
                    last = self._outcome(lane, call)
                lane.settle(call)
                is_settled = True
            except CallCancelled:
                continue
        self._finish(call, last)

    def _outcome(self, lane: CallLane, call: ReplicaCall) -> bytes:
        try:
            try:
                self._enter(lane, call)
                return self._answer(call)
            finally:
                call.masked = True
        except CallCancelled:
            return b""
        except BaseException as error:  # noqa: BLE001  user code may raise anything, SystemExit too
            return failure(call, error)

    def _enter(self, lane: CallLane, call: Work) -> None:
        with self._state:
            call.lane = lane
        call.unmask()

    def _finish(self, call: ReplicaCall, last: bytes) -> None:
        if self._takes_out(call):
            program.flush_output()
            self._send(last_frame(call, last))
            self._tell_learned()

    def _takes_out(self, call: ReplicaCall) -> bool:
        """Forget a call; return whether its end is still to be told."""
        with self._state:
            if self._calls.pop(call.number, None) is not call:
                return False  # Its end was told when it was cancelled, before it ran.
            if call.is_whole:
                self._active -= 1
        return True

    def _tell_learned(self) -> None:
        """After a call: tell what was imported since the fork, where that is due."""
        if self._observer is not None and (names := self._observer.after_call()):
            self._send(frames.encode_json(frames.LEARNED, 0, {"modules": names}))

    def _answer(self, call: ReplicaCall) -> bytes:
        """Run the handler, send all frames of the reply but the last, and return that one."""
        request = call.request()
        return self._write(call, call.timed(lambda: self._handler.invoke(request)))

    def _write(self, call: ReplicaCall, reply: HandlerReply) -> bytes:
        if not isinstance(reply.body, bytes):
            return self._stream(call, reply, reply.body)
        if len(reply.body) > frames.PART_BYTES:
            return self._stream(call, reply, iter((reply.body,)))
        head = self._reply_heads.write(reply.status, reply.headers, call.handler_us, call.waited_us)
        return frames.encode_headed(frames.REPLY, call.number, head, reply.body)

    def _stream(self, call: ReplicaCall, reply: HandlerReply, pieces: Iterator[Any]) -> bytes:
        try:
            # The first piece comes before the head, so that an early failure keeps its own status.
            piece = call.timed(lambda: next(pieces, _END))
            self._send_masked(call, frames.encode_json(frames.HEAD, call.number, _head(reply)))
            while piece is not _END:
                self._send_piece(call, memoryview(to_bytes(piece)))
                piece = call.timed(lambda: next(pieces, _END))
        finally:
            if hasattr(pieces, "close"):
                call.timed(pieces.close)
        times = {"handler_us": call.handler_us, "waited_us": call.waited_us}
        return frames.encode_json(frames.END, call.number, times)

    def _send_piece(self, call: ReplicaCall, data: memoryview) -> None:
        while data:
            size_bytes = self._take_credit(call, min(len(data), frames.PART_BYTES))
            chunk = frames.encode(frames.CHUNK, call.number, bytes(data[:size_bytes]))
            self._send_masked(call, chunk)
            data = data[size_bytes:]

    def _take_credit(self, call: ReplicaCall, wanted_bytes: int) -> int:
        """Wait until the router grants some, and return how much of the wanted may be sent."""
        call.mask()
        with self._state:
            while call.credit_bytes <= 0 and not call.cancelled:
                self._state.wait()
            size_bytes = min(call.credit_bytes, wanted_bytes)
            call.credit_bytes -= size_bytes
        call.unmask()
        return size_bytes

    def _send_masked(self, call: ReplicaCall, frame: bytes) -> None:
        call.mask()
        self._send(frame)
        call.unmask()

    def _send(self, frame: bytes) -> None:
        try:
            with self._sending:
                self._channel.sendall(frame)
        except OSError:
            os._exit(EXIT_CHANNEL_ENDED)


_END: Any = object()


def _start(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def _head(reply: HandlerReply) -> dict[str, Any]:
    return {"status": reply.status, "headers": reply.headers}


def failure(call: ReplicaCall, error: BaseException) -> bytes:
    """Return the last frame of a call that the program failed, and print its traceback."""
    if isinstance(error, media_types.UnsupportedMedia):
        return _failed(call, kind="UnsupportedMedia", message=str(error), traceback="")
    told = program.user_traceback(error)
    program.print_error(told)
    return _failed(call, kind="HandlerFailed", message=program.message(error), traceback=told)


def last_frame(call: ReplicaCall, last: bytes) -> bytes:
    """Return what ends a call: the frame that it came to, unless the caller gave up."""
    if not call.cancelled:
        return last
    return _failed(call, kind="Cancelled", message="the caller gave up", traceback="")


def _failed(call: ReplicaCall, **body: str) -> bytes:
    head = {**body, "handler_us": call.handler_us}
    return frames.encode_json(frames.FAILED, call.number, head)
