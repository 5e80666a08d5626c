"""One forked process, from the order to the last of its descendants.

It ends in exactly one ``on_ended``. If the template does not reap it in time after SIGKILL, the
template is the one that hangs, and is killed; a process that even then does not die (it sits in a
driver) is given up, and said to be.
"""

import asyncio
import os
import select
from collections.abc import Callable

from coldspark.node import processes
from coldspark.node.cgroups import Cgroup
from coldspark.node.logs.log_pipe import LogPipe
from coldspark.node.logs.replica_logs import ReplicaLog
from coldspark.node.templates.fork_order import ForkOrder, TemplateFailure
from coldspark.node.templates.template import SIGKILL, SIGTERM, Template
from coldspark.spec.types import ReplicaId, RootCause

_REAPED_WITHIN_S = 6.0
"""Longer than the template takes to give up on what a replica leaves behind."""


class ForkedProcess:
    """A replica's process. Its template tells it what happens (it is the ``TemplateUser``)."""

    def __init__(
        self,
        replica: ReplicaId,
        log: ReplicaLog,
        cgroup: Cgroup | None,
        *,
        on_forked: Callable[[], None],
        on_ended: Callable[[int | None, TemplateFailure | None], None],
    ) -> None:
        self._replica = replica
        self._log = log
        self._cgroup = cgroup
        self._on_forked = on_forked
        self._on_ended = on_ended
        self._template: Template | None = None
        self._pidfd: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pipes: list[LogPipe] = []
        self.pid: int | None = None
        self.has_ended = False

    def fork(self, template: Template, order: ForkOrder, channel: int | None) -> None:
        """Ask the template for the process. Raises OSError, and ValueError if it is too long."""
        loop = asyncio.get_running_loop()
        self._template = template
        try:
            for stream in ("stdout", "stderr"):
                self._pipes.append(LogPipe(loop, self._log.writer(stream)))
            descriptors = [pipe.write_end for pipe in self._pipes]
            template.fork(order, descriptors if channel is None else [*descriptors, channel])
        except (OSError, ValueError):
            self._close()
            raise
        for pipe in self._pipes:
            pipe.close_write_end()

    def stop(self, grace_s: float) -> None:
        """SIGTERM its group, SIGKILL after ``grace_s``; 0 kills at once."""
        if self.has_ended or self._template is None:
            return
        if grace_s <= 0:
            self._kill()
            return
        self._template.signal(self._replica, SIGTERM)
        self._set_timer(grace_s, self._kill)

    def signal(self, number: int) -> None:
        """Signal its whole group."""
        if self._template is not None and not self.has_ended:
            self._template.signal(self._replica, number)

    def on_forked(self, pid: int) -> None:
        """Hold the process by a descriptor, which no later process can be mistaken for."""
        self.pid = pid
        self._pidfd = processes.open_pidfd(pid)
        self._on_forked()

    def on_process_exited(self, status: int) -> None:
        """Finish. The template has killed what it left behind before it says this."""
        if not self.has_ended:
            self._finish(status, None)

    def on_fork_failed(self, message: str) -> None:
        """Say that there never was a process."""
        if not self.has_ended:
            words = f"The template could not fork it: {message}"
            self._finish(None, TemplateFailure(cause=RootCause.UNKNOWN, message=words))

    def on_template_lost(self, failure: TemplateFailure) -> None:
        """Its template died, and so did it."""
        if self.has_ended:
            return
        if self._pidfd is not None:
            processes.kill(self._pidfd)
        self._finish(failure.exit_status, failure)

    def on_template_output(self, data: bytes) -> None:
        """What a template prints after the fork concerns nobody."""

    def _kill(self) -> None:
        assert self._template is not None
        self._template.signal(self._replica, SIGKILL)
        if self._cgroup is not None:
            self._cgroup.kill()
        self._set_timer(_REAPED_WITHIN_S, self._unreaped)

    def _unreaped(self) -> None:
        """Decide who hangs: the template, or the process itself."""
        assert self._template is not None
        if self._pidfd is None or _has_ended(self._pidfd):
            self._log.append("its template does not answer: killed")
            self._template.kill()
            return
        processes.kill(self._pidfd)
        words = "It does not die of SIGKILL (a driver or a disk holds it), and was given up"
        self._finish(None, TemplateFailure(cause=RootCause.KILLED, message=words))

    def _set_timer(self, delay_s: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, callback)

    def _finish(self, status: int | None, failure: TemplateFailure | None) -> None:
        self.has_ended = True
        if self._cgroup is not None and failure is not None:
            # Otherwise its template has seen to it.
            self._cgroup.kill()
        self._close()
        self._on_ended(status, failure)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for pipe in self._pipes:
            pipe.drain()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _has_ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))
