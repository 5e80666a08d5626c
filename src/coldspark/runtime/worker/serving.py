"""Serve a handler on its channel: blocking threads, no event loop.

One thread reads frames. With a concurrency of 1 the handler runs in the main thread, as programs
expect; with more, in that many threads. The end of the channel means that the router is gone:
nobody can want the work any more, and the process exits at once.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from . import frames, media, output, program
from .calls import Call, CallCancelled, Lane, MainLane, ThreadLane
from .handler import Handler, Reply, to_bytes

EXIT_CHANNEL_ENDED = 0
EXIT_CHANNEL_BROKEN = 70
CALLS_MAX = 10_000
_READ_BYTES = 256 * 1024


class Server:
    """Everything between a channel and a loaded handler."""

    def __init__(self, channel: socket.socket, handler: Handler, concurrency: int) -> None:
        self._channel = channel
        self._handler = handler
        self._concurrency = concurrency
        self._calls: dict[int, Call] = {}
        self._queue: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._state = threading.Condition(threading.Lock())
        self._sending = threading.Lock()

    def run(self) -> None:
        """Serve until the process ends."""
        # A child that the handler forks must neither hold the channel open nor answer on it.
        os.register_at_fork(after_in_child=self._channel.close)
        threading.Thread(target=self._read, name="coldspark-reader", daemon=True).start()
        if self._concurrency == 1:
            self._run_lane(MainLane())
            return
        lanes = [ThreadLane() for _ in range(self._concurrency)]
        for number, lane in enumerate(lanes):
            name = f"coldspark-{number}"
            threading.Thread(target=self._run_thread, args=(lane,), name=name, daemon=True).start()
        threading.Event().wait()

    # The reader's thread.

    def _read(self) -> None:
        decoder = frames.Decoder()
        try:
            while data := self._channel.recv(_READ_BYTES):
                for kind, number, payload in decoder.feed(data):
                    self._take(kind, number, payload)
        except (frames.FrameError, ValueError, KeyError) as error:
            print(f"coldspark: the channel broke: {error!r}", file=sys.stderr)
            os._exit(EXIT_CHANNEL_BROKEN)
        except OSError:
            pass
        os._exit(EXIT_CHANNEL_ENDED)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        if kind == frames.CALL:
            self._open(number, payload)
        elif kind == frames.BODY:
            self._extend(number, payload)
        elif kind == frames.CREDIT:
            self._grant(number, frames.read_credit(payload))
        elif kind == frames.CANCEL:
            self._cancel(number)
        else:
            raise frames.FrameError(f"frame of kind {kind} from the router")

    def _open(self, number: int, payload: bytes) -> None:
        head, body = frames.split_headed(payload)
        call = Call(number, json.loads(head))
        call.parts.append(body)
        with self._state:
            if number in self._calls or len(self._calls) >= CALLS_MAX:
                raise frames.FrameError(f"call {number} of {len(self._calls)} open ones")
            self._calls[number] = call
        if not call.has_more:
            self._queue.put(call)

    def _extend(self, number: int, payload: bytes) -> None:
        call = self._calls.get(number)
        if call is None:
            return  # Cancelled while its body was under way.
        if payload:
            call.parts.append(payload)
        else:
            self._queue.put(call)

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

    # The lanes' threads.

    def _run_thread(self, lane: ThreadLane) -> None:
        lane.bind()
        self._run_lane(lane)

    def _run_lane(self, lane: Lane) -> None:
        while True:
            self._perform(lane, self._queue.get())

    def _perform(self, lane: Lane, call: Call) -> None:
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

    def _outcome(self, lane: Lane, call: Call) -> bytes:
        try:
            try:
                self._enter(lane, call)
                return self._answer(call)
            finally:
                call.masked = True
        except CallCancelled:
            return b""
        except BaseException as error:  # noqa: BLE001  user code may raise anything, SystemExit too
            return _failure(call, error)

    def _enter(self, lane: Lane, call: Call) -> None:
        with self._state:
            call.lane = lane
        call.unmask()

    def _finish(self, call: Call, last: bytes) -> None:
        with self._state:
            if self._calls.pop(call.number, None) is not call:
                return  # Its end was told when it was cancelled, before it ran.
        output.flush()
        self._send(_cancellation(call) if call.cancelled else last)

    def _answer(self, call: Call) -> bytes:
        """Run the handler, send all frames of the reply but the last, and return that one."""
        request = call.request()
        reply = call.timed(lambda: self._handler.invoke(request))
        if not isinstance(reply.body, bytes):
            return self._stream(call, reply, reply.body)
        if len(reply.body) > frames.PART_BYTES:
            return self._stream(call, reply, iter((reply.body,)))
        head = json.dumps({**_head(reply), "handler_us": call.handler_us}).encode()
        return frames.encode_headed(frames.REPLY, call.number, head, reply.body)

    def _stream(self, call: Call, reply: Reply, pieces: Iterator[Any]) -> bytes:
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
        return frames.encode_json(frames.END, call.number, {"handler_us": call.handler_us})

    def _send_piece(self, call: Call, data: memoryview) -> None:
        while data:
            size_bytes = self._take_credit(call, min(len(data), frames.PART_BYTES))
            chunk = frames.encode(frames.CHUNK, call.number, bytes(data[:size_bytes]))
            self._send_masked(call, chunk)
            data = data[size_bytes:]

    def _take_credit(self, call: Call, wanted_bytes: int) -> int:
        """Wait until the router grants some, and return how much of the wanted may be sent."""
        call.mask()
        with self._state:
            while call.credit_bytes <= 0 and not call.cancelled:
                self._state.wait()
            size_bytes = min(call.credit_bytes, wanted_bytes)
            call.credit_bytes -= size_bytes
        call.unmask()
        return size_bytes

    def _send_masked(self, call: Call, frame: bytes) -> None:
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


def _head(reply: Reply) -> dict[str, Any]:
    return {"status": reply.status, "headers": reply.headers}


def _failure(call: Call, error: BaseException) -> bytes:
    is_media = isinstance(error, media.UnsupportedMedia)
    return _failed(
        call,
        kind="UnsupportedMedia" if is_media else "HandlerFailed",
        message=str(error) if is_media else program.message(error),
        traceback="" if is_media else program.user_traceback(error),
    )


def _cancellation(call: Call) -> bytes:
    return _failed(call, kind="Cancelled", message="the caller gave up", traceback="")


def _failed(call: Call, **body: str) -> bytes:
    head = {**body, "handler_us": call.handler_us}
    return frames.encode_json(frames.FAILED, call.number, head)
