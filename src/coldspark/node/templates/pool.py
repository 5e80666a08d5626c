"""Keep templates by what they hold: one per key, bounded in number and memory, each with a standby.

A standby is a process forked ahead of its order. It is renewed a moment after the last one was
used, so that forking it does not compete with the request that woke its sibling.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from coldspark import clock
from coldspark.node.cgroups import CgroupLimits, Cgroups
from coldspark.node.templates.fork_order import Standby, TemplateKey, TemplateUser
from coldspark.node.templates.learned_imports import LearnedImportStore
from coldspark.node.templates.memory_accounting import private_memory_bytes, tree_memory_bytes
from coldspark.node.templates.template import Template
from coldspark.node.warmth import PoolView, StartHistory, TemplateView, WakeLevel, level_of, view_of
from coldspark.spec.types import GIB, ReplicaId
from coldspark.spec.units import format_size
from coldspark.tasks import Tasks

TEMPLATES_MAX = 16
IDLE_TIMEOUT_S = 300.0
MEMORY_BYTES_MAX = 8 * GIB
_GONE_WITHIN_S = 5.0
_RENEW_AFTER_S = 0.1
_RENEW_LOADING_AFTER_S = 1.0
"""Loading a model takes a core for a while: not while its sibling answers its first request."""
_ANY_START_S = 0.1
_LEAST_BYTES = 1024**2
_DROPPED_MAX = 256
_UNBOUND = CgroupLimits(memory_bytes=GIB, vcpus=1.0, processes_max=256)
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
        learning: LearnedImportStore | None = None,
        has_standbys: bool = True,
    ) -> None:
        """Without ``learning`` no template imports more than its program does."""
        self._environment = dict(environment)
        self._cgroups = cgroups
        self._tasks = tasks
        self._templates_max = templates_max
        self._idle_timeout_s = idle_timeout_s
        self._memory_bytes_max = memory_bytes_max
        self._learning = learning
        self._has_standbys = has_standbys
        self._renewing: dict[TemplateKey, Template] = {}
        """Those that nobody uses yet: they try modules that replicas were seen to import."""
        self._superseded: set[Template] = set()
        """Those in whose place another stands, but that still have users."""
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
        self.starts = StartHistory()

    def __len__(self) -> int:
        return len(self._by_key)

    def acquire(self, key: TemplateKey, replica: ReplicaId, user: TemplateUser) -> Template:
        """Return the template of ``key``, with one more user. Raises OSError."""
        found = level_of(self._by_key.get(key))
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
            template = self._new(key, () if self._learning is None else self._learning.proven(key))
            self._by_key[key] = template
            self._tasks.spawn(self._settled(template))
        self._by_key.move_to_end(key)
        return template

    def _new(self, key: TemplateKey, learned: Sequence[str]) -> Template:
        environment = {**self._environment, **dict(key.environment)}
        cgroup = None
        if key.memory_bytes is not None:
            self._made += 1
            bounds = replace(_UNBOUND, memory_bytes=key.memory_bytes)
            cgroup = self._cgroups.create(ReplicaId(f"template-{self._made}"), bounds)
        try:
            return Template(
                key,
                environment,
                self._ended,
                cgroup,
                learned=learned,
                on_loaded_ahead=self._loaded_ahead,
            )
        except (OSError, ValueError):
            if cgroup is not None:
                self._cgroups.retire(cgroup)
            raise

    async def _settled(self, template: Template) -> None:
        """Weigh a new template, and give it a standby."""
        await template.settled.wait()
        self._note_learned(template)
        if template.is_alive:
            template.memory_bytes = await asyncio.to_thread(tree_memory_bytes, template.pid)
            self._drop_surplus()
            self.renew_standby(template)

    def learn(self, template: Template, names: Sequence[str]) -> None:
        """Keep what a replica imported after its fork, for the next template of its program."""
        if self._learning is not None and template.key.program is not None:
            self._learning.add(template.key, names)

    def _note_learned(self, template: Template) -> None:
        """Keep what a template made of the modules it was to import."""
        if self._learning is None or not template.learned.asked or template.is_dropped:
            return
        if template.is_alive:
            self._learning.settle(template.key, template.learned)
        elif not template.is_broken:
            assert template.failure is not None
            reason = f"a template that imported them died: {template.failure.message}"
            self._learning.refuse(template.key, template.learned.asked, reason)

    def _renew_template(self, old: Template) -> None:
        """Start another in place of one that is idle, if there are modules to try."""
        key = old.key
        if self._learning is None or self._is_closed or key in self._renewing:
            return
        if not old.is_fork_safe or not self._learning.wants_renewal(key):
            return
        if self._held_bytes() + old.memory_bytes > self._memory_bytes_max:
            return
        try:
            fresh = self._new(key, self._learning.begin_renewal(key))
        except (OSError, ValueError):
            return  # The old one serves on.
        self._renewing[key] = fresh
        self._tasks.spawn(self._replace(old, fresh))

    async def _replace(self, old: Template, fresh: Template) -> None:
        """Put a template in another's place, if it holds no less."""
        await fresh.settled.wait()
        self._note_learned(fresh)
        fresh.memory_bytes = await asyncio.to_thread(tree_memory_bytes, fresh.pid)
        self._renewing.pop(fresh.key, None)
        is_wanted = self._by_key.get(fresh.key) is old and not self._is_closed
        if not is_wanted or not fresh.is_alive or not fresh.holds_no_less_than(old):
            self._end(fresh)
            return
        self._by_key[fresh.key] = fresh
        if old.users:
            self._superseded.add(old)
        else:
            self._end(old)
        self._drop_surplus()
        self.renew_standby(fresh)

    def _end(self, template: Template) -> None:
        self._superseded.discard(template)
        if not template.ended.is_set():
            self._ending.add(template)
            template.hang_up()

    def _loaded_ahead(self, template: Template, pid: int) -> None:
        self._tasks.spawn(self._weigh_standby(template, pid))

    async def _weigh_standby(self, template: Template, pid: int) -> None:
        """Count what a process holds that loaded its model ahead; end it if that is too much."""
        held_bytes = max(_LEAST_BYTES, await asyncio.to_thread(private_memory_bytes, pid))
        if template.standby_pid != pid:
            return
        template.standby_bytes = held_bytes
        self._drop_surplus()
        if self._by_key.get(template.key) is template and self._excess() is not None:
            most = format_size(self._memory_bytes_max)
            template.give_up_loading_ahead(f"not ahead of an order: templates may hold {most}")

    def renew_standby(self, template: Template) -> None:
        """Have a process forked ahead in a moment, unless one stands by."""
        loop = asyncio.get_running_loop()
        after_s = _RENEW_LOADING_AFTER_S if template.loads_ahead else _RENEW_AFTER_S
        loop.call_later(after_s, self._renew, template)

    def _renew(self, template: Template) -> None:
        self._retire_fallen(template)
        if self._is_closed or not self._has_standbys:
            return
        if template.wants_standby and self._by_key.get(template.key) is template:
            self._made += 1
            name = f"standby-{self._made}"
            cgroup = self._cgroups.create(ReplicaId(name), _bounds(template))
            template.stand_by(Standby(name, cgroup))

    def _retire_fallen(self, template: Template) -> None:
        for cgroup in template.take_dead_standbys():
            cgroup.kill()
            self._cgroups.retire(cgroup)

    def release(self, template: Template, replica: ReplicaId) -> None:
        """Take a user off a template. One that nobody waits for any more may hang: it is ended."""
        template.users.pop(replica, None)
        self.starts.released(replica)
        if template in self._superseded:
            if not template.users:
                self._end(template)
            return
        if not template.users and not template.settled.is_set():
            template.is_dropped = True
            template.kill()
            return
        if not template.users and self._by_key.get(template.key) is template:
            self._idle_since[template.key] = clock.monotonic_s()
            self._drop_surplus()
            self._set_timer()
            self._renew_template(template)

    def live(self) -> list[Template]:
        """Return the templates, least recently used first."""
        return list(self._by_key.values())

    def warmth_level(self, key: TemplateKey) -> tuple[WakeLevel, TemplateView | None, str]:
        """Return the rung that a replica of ``key`` would start from, and why it is no higher."""
        template = self._by_key.get(key)
        rung = level_of(template)
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
        for template in (*self._renewing.values(), *self._superseded):
            self._end(template)
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
        held = (*self._by_key.values(), *self._superseded)
        return sum(template.memory_bytes + template.standby_bytes for template in held)

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
        self._superseded.discard(template)
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
            delay_s = max(0.0, first - clock.monotonic_s())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._expire)

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
    spared_us = (template.import_us or 0) + (template.load_us or 0) + (template.ahead_us or 0)
    spared_s = _ANY_START_S + spared_us / 1e6
    held_bytes = template.memory_bytes + template.standby_bytes
    return spared_s / (1.0 + idle_s) / max(held_bytes, _LEAST_BYTES)


def _why(template: Template, rung: WakeLevel) -> str:
    """Say why a template is not a rung higher."""
    if not template.settled.is_set():
        return "its template still imports"
    if not template.is_fork_safe:
        return f"imported after the fork: {template.reason}"
    if rung is WakeLevel.STANDBY:
        return "idle replicas end, and none was asked for since"
    return "the next standby is forked a moment after the last was taken"


def _bounds(template: Template) -> CgroupLimits:
    """Return the bounds of a process that stands by: a model's, if it loads one.

    Else those of the latest replica, as the likeliest: its order then finds them written.
    """
    memory_bytes = template.key.memory_bytes
    if not template.loads_ahead or memory_bytes is None:
        return template.bounds or _UNBOUND
    return replace(_UNBOUND, memory_bytes=memory_bytes, vcpus=float(os.cpu_count() or 1))
