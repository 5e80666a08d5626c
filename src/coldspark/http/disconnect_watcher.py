"""Detect clients that disconnect while their connection is not read.

A paused transport looks at its socket no more, and so would not notice. The kernel reports it here
without a byte being read: a reset at once, an orderly end once all that was sent before it fits
into the socket's buffer (TCP delivers in order; else it is met when that is read). One who only
ends its sending counts as gone, as it does anywhere else.
"""

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress


class DisconnectWatcher:
    """The sockets that are not read for now. Used on the event loop's thread only."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the other side of a socket has ended."""
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._poll)
        self._callbacks[descriptor] = callback
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)

    def unwatch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Watch a socket no more. Its number may be another one's by now: it is left alone."""
        if self._callbacks.get(descriptor) != callback:
            return
        del self._callbacks[descriptor]
        if self._epoll is not None:
            with suppress(OSError):  # The kernel forgot a socket that is closed already.
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing more."""
        epoll, self._epoll = self._epoll, None
        self._callbacks.clear()
        if epoll is not None:
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()

    def _poll(self) -> None:
        if self._epoll is not None:
            for descriptor, _ in self._epoll.poll(0):
                if (callback := self._callbacks.get(descriptor)) is not None:
                    callback()
