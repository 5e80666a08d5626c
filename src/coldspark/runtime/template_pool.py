"""Keep templates by what they hold: one per key, few of them, the least recently used dropped."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from coldspark.core.types import ReplicaId
from coldspark.runtime import clock
from coldspark.runtime.templates import Template, TemplateKey, TemplateUser

TEMPLATES_MAX = 16
IDLE_TIMEOUT_S = 300.0
_GONE_WITHIN_S = 5.0


class TemplatePool:
    """The templates of this machine.

    One without users ends after ``idle_timeout_s``, or sooner when there are more than
    ``templates_max``. One with users is never dropped, so there may be more for as long as more
    are in use.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        templates_max: int = TEMPLATES_MAX,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self._environment = dict(environment)
        self._templates_max = templates_max
        self._idle_timeout_s = idle_timeout_s
        self._by_key: OrderedDict[TemplateKey, Template] = OrderedDict()
        """Least recently used first."""
        self._idle_since: dict[TemplateKey, float] = {}
        self._ending: set[Template] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._by_key)

    def acquire(self, key: TemplateKey, replica: ReplicaId, user: TemplateUser) -> Template:
        """Return the template of ``key``, with one more user. Raises OSError."""
        template = self._by_key.get(key)
        if template is None or not template.is_alive:
            environment = {**self._environment, **dict(key.environment)}
            template = Template(key, environment, self._ended)
            self._by_key[key] = template
        self._by_key.move_to_end(key)
        self._idle_since.pop(key, None)
        template.users[replica] = user
        self._drop_surplus()
        return template

    def release(self, template: Template, replica: ReplicaId) -> None:
        """Take a user off a template."""
        template.users.pop(replica, None)
        if not template.users and self._by_key.get(template.key) is template:
            self._idle_since[template.key] = clock.monotonic_s()
            self._drop_surplus()
            self._set_timer()

    def live(self) -> list[Template]:
        """Return the templates, least recently used first."""
        return list(self._by_key.values())

    async def close(self) -> None:
        """End every template and wait until they are gone."""
        if self._timer is not None:
            self._timer.cancel()
        for key in list(self._by_key):
            self._drop(key)
        for template in list(self._ending):
            try:
                async with asyncio.timeout(_GONE_WITHIN_S):
                    await template.ended.wait()
            except TimeoutError:
                template.kill()
                async with asyncio.timeout(_GONE_WITHIN_S):
                    await template.ended.wait()

    def _drop_surplus(self) -> None:
        for key in list(self._by_key):
            if len(self._by_key) <= self._templates_max:
                return
            if not self._by_key[key].users:
                self._drop(key)

    def _drop(self, key: TemplateKey) -> None:
        template = self._by_key.pop(key)
        self._idle_since.pop(key, None)
        self._ending.add(template)
        template.hang_up()

    def _ended(self, template: Template) -> None:
        self._ending.discard(template)
        if self._by_key.get(template.key) is template:
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
                self._drop(key)
        self._set_timer()
