"""Keep templates by what they hold: one per key, bounded in number and memory, each with a standby.

A standby is a process forked ahead of its order. It is renewed a moment after the last one was
used, so that forking it does not compete with the request that woke its sibling.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from coldspark.core.sizes import format_size
from coldspark.core.types import GIB, ReplicaId
from coldspark.runtime import clock
from coldspark.runtime.cgroups import Bounds, Cgroups
from coldspark.runtime.forking import Standby, TemplateKey, TemplateUser
from coldspark.runtime.tasks import Tasks
from coldspark.runtime.templates import Template
from coldspark.runtime.warmth import PoolView, Rung, Starts, TemplateView, rung_of, view_of

TEMPLATES_MAX = 16
IDLE_TIMEOUT_S = 300.0
MEMORY_BYTES_MAX = 8 * GIB
_GONE_WITHIN_S = 5.0
_RENEW_AFTER_S = 0.1
_ANY_START_S = 0.1
_LEAST_BYTES = 1024**2
_DROPPED_MAX = 256
_UNBOUND = Bounds(memory_bytes=GIB, vcpus=1.0, processes_max=256)
"""Of the first standby; its replica's own bounds are set before it gets its order."""


class TemplatePool:
    """The templates of this machine.

    One without users ends after ``idle_timeout_s``, or sooner when there are more than
    ``templates_max`` or they hold more than ``memory_bytes_max``: the least valuable first.
    One with users is never dropped, so there may be more for as long as more are in use.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        cgroups: Cgroups,
        tasks: Tasks,
        *,
        templates_max: int = TEMPLATES_MAX,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        memory_bytes_max: int = MEMORY_BYTES_MAX,
    ) -> None:
        self._environment = dict(environment)
        self._cgroups = cgroups
        self._tasks = tasks
        self._templates_max = templates_max
        self._idle_timeout_s = idle_timeout_s
        self._memory_bytes_max = memory_bytes_max
        self._by_key: OrderedDict[TemplateKey, Template] = OrderedDict()
        """Least recently used first."""
        self._idle_since: dict[TemplateKey, float] = {}
        self._ending: set[Template] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._made = 0
        """Cgroups so far: each has a name of its own."""
        self._dropped: OrderedDict[TemplateKey, str] = OrderedDict()
        """Why the latest that are gone went."""
        self.starts = Starts()

    def __len__(self) -> int:
        return len(self._by_key)

    def acquire(self, key: TemplateKey, replica: ReplicaId, user: TemplateUser) -> Template:
        """Return the template of ``key``, with one more user. Raises OSError."""
        found = rung_of(self._by_key.get(key))
        template = self._find(key)
        self.starts.acquired(replica, found, template)
        self._idle_since.pop(key, None)
        template.users[replica] = user
        self._drop_surplus()
        return template

    def warm(self, key: TemplateKey) -> Template | None:
        """Have the template of ``key`` ready ahead of use, if a place is free. Raises OSError."""
        if key not in self._by_key and len(self._by_key) >= self._templates_max:
            # Nobody uses it yet: it drives out none that somebody has used.
            return None
        template = self._find(key)
        if not template.users:
            self._idle_since[key] = clock.monotonic_s()
            self._drop_surplus()
            self._set_timer()
        return template

    def _find(self, key: TemplateKey) -> Template:
        template = self._by_key.get(key)
        if template is None or not template.is_alive:
            template = self._new(key)
            self._by_key[key] = template
            self._tasks.spawn(self._settled(template))
        self._by_key.move_to_end(key)
        return template

    def _new(self, key: TemplateKey) -> Template:
        environment = {**self._environment, **dict(key.environment)}
        cgroup = None
        if key.memory_bytes is not None:
            self._made += 1
            bounds = replace(_UNBOUND, memory_bytes=key.memory_bytes)
            cgroup = self._cgroups.create(ReplicaId(f"template-{self._made}"), bounds)
        try:
            return Template(key, environment, self._ended, cgroup)
        except (OSError, ValueError):
            if cgroup is not None:
                self._cgroups.retire(cgroup)
            raise

    async def _settled(self, template: Template) -> None:
        """Weigh a new template, and give it a standby."""
        await template.settled.wait()
        if template.is_alive:
            template.memory_bytes = await asyncio.to_thread(_weigh, template.pid)
            self._drop_surplus()
            self.renew_standby(template)

    def renew_standby(self, template: Template) -> None:
        """Have a process forked ahead in a moment, unless one stands by."""
        loop = asyncio.get_running_loop()
        loop.call_later(_RENEW_AFTER_S, self._renew, template)

    def _renew(self, template: Template) -> None:
        self._retire_fallen(template)
        if self._is_closed:
            return
        if template.wants_standby and self._by_key.get(template.key) is template:
            self._made += 1
            name = f"standby-{self._made}"
            cgroup = self._cgroups.create(ReplicaId(name), template.bounds or _UNBOUND)
            template.stand_by(Standby(name, cgroup))

    def _retire_fallen(self, template: Template) -> None:
        for cgroup in template.take_fallen():
            cgroup.kill()
            self._cgroups.retire(cgroup)

    def release(self, template: Template, replica: ReplicaId) -> None:
        """Take a user off a template. One that nobody waits for any more may hang: it is ended."""
        template.users.pop(replica, None)
        self.starts.released(replica)
        if not template.users and not template.settled.is_set():
            template.kill()
            return
        if not template.users and self._by_key.get(template.key) is template:
            self._idle_since[template.key] = clock.monotonic_s()
            self._drop_surplus()
            self._set_timer()

    def live(self) -> list[Template]:
        """Return the templates, least recently used first."""
        return list(self._by_key.values())

    def look(self, key: TemplateKey) -> tuple[Rung, TemplateView | None, str]:
        """Return the rung that a replica of ``key`` would start from, and why it is no higher."""
        template = self._by_key.get(key)
        rung = rung_of(template)
        if key.program is None:
            # The template of commands is everybody's, and holds nothing of this one.
            why = "a command starts afresh each time: only a handler can be imported ahead"
            return (rung, None, why)
        if template is None:
            why = self._dropped.get(key, "not started since the server started")
            return (rung, None, f"no template: {why}")
        since_s = self._idle_since.get(key)
        idle_s = None if since_s is None else clock.monotonic_s() - since_s
        return (rung, view_of(template, idle_s), _why(template, rung))

    def view(self) -> PoolView:
        """Return how many templates there are, what they hold, and the bounds of both."""
        return PoolView(
            templates=len(self._by_key),
            templates_max=self._templates_max,
            memory_bytes=self._held_bytes(),
            memory_bytes_max=self._memory_bytes_max,
            idle_timeout_s=self._idle_timeout_s,
        )

    async def close(self) -> None:
        """End every template and wait until they are gone."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for key in list(self._by_key):
            self._drop(key, "the server ends")
        for template in list(self._ending):
            try:
                async with asyncio.timeout(_GONE_WITHIN_S):
                    await template.ended.wait()
            except TimeoutError:
                template.kill()
                async with asyncio.timeout(_GONE_WITHIN_S):
                    await template.ended.wait()

    def _drop_surplus(self) -> None:
        now_s = clock.monotonic_s()
        worths = {
            key: worth(self._by_key[key], now_s - since_s)
            for key, since_s in self._idle_since.items()
        }
        for key in sorted(worths, key=lambda key: worths[key]):
            why = self._excess()
            if why is None:
                return
            self._drop(key, why)

    def _excess(self) -> str | None:
        """Say which bound is passed, if one is."""
        if len(self._by_key) > self._templates_max:
            return f"it made room for another: at most {self._templates_max} are kept"
        if self._held_bytes() > self._memory_bytes_max:
            most = format_size(self._memory_bytes_max)
            return f"it made room for another: they may hold {most} in all"
        return None

    def _held_bytes(self) -> int:
        return sum(template.memory_bytes for template in self._by_key.values())

    def _drop(self, key: TemplateKey, why: str) -> None:
        self._note_drop(key, why)
        template = self._by_key.pop(key)
        self._idle_since.pop(key, None)
        self._ending.add(template)
        template.hang_up()

    def _note_drop(self, key: TemplateKey, why: str) -> None:
        self._dropped[key] = why
        self._dropped.move_to_end(key)
        while len(self._dropped) > _DROPPED_MAX:
            self._dropped.popitem(last=False)

    def _ended(self, template: Template) -> None:
        self._ending.discard(template)
        self._retire_fallen(template)
        if template.cgroup is not None:
            template.cgroup.kill()
            self._cgroups.retire(template.cgroup)
        if self._by_key.get(template.key) is template:
            message = "it died" if template.failure is None else template.failure.message
            self._note_drop(template.key, f"it ended by itself: {message}")
            del self._by_key[template.key]
            self._idle_since.pop(template.key, None)

    def _set_timer(self) -> None:
        if self._timer is None and self._idle_since:
            first = min(self._idle_since.values()) + self._idle_timeout_s
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(loop.time() + first - clock.monotonic_s(), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now_s = clock.monotonic_s()
        for key, since_s in list(self._idle_since.items()):
            if now_s - since_s >= self._idle_timeout_s:
                self._drop(key, f"it had no replica for {self._idle_timeout_s:g} s")
        self._set_timer()


def worth(template: Template, idle_s: float) -> float:
    """Return what keeping an idle template is expected to save: seconds per byte and second.

    The start that it spares (imports and load, and a tenth of a second that any start takes), by
    the chance that it is asked for again, which falls as it idles, per byte that it holds. Worked
    number: 3.9 s spared by 400 MB idle for 9 s is 4.0 / 10 / 4e8 = 1e-9; an empty one of 10 MB
    idle for 9 s is 0.1 / 10 / 1e7 = 1e-9 as well.
    """
    spared_us = (template.import_us or 0) + (template.load_us or 0)
    spared_s = _ANY_START_S + spared_us / 1e6
    return spared_s / (1.0 + idle_s) / max(template.memory_bytes, _LEAST_BYTES)


def _why(template: Template, rung: Rung) -> str:
    """Say why a template is not a rung higher."""
    if not template.settled.is_set():
        return "its template still imports"
    if not template.is_fork_safe:
        return f"imported after the fork: {template.reason}"
    if rung is Rung.STANDBY:
        return "idle replicas end, and none was asked for since"
    return "the next standby is forked a moment after the last was taken"


def _weigh(pid: int) -> int:
    """Return the memory that would be free without this process and its forks.

    Forks share its private pages, so its part of those (Pss) would say a half with one fork, a
    third with two. Of mapped files it is its part that counts.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    rows = (line.split() for line in text.splitlines()[1:])
    sizes = {row[0]: int(row[1]) * 1024 for row in rows}
    part = sizes.get("Pss:", 0)
    if "Pss_Anon:" not in sizes:
        # A kernel that does not tell the two apart.
        return part
    return sizes.get("Anonymous:", 0) + part - sizes["Pss_Anon:"]
