"""The warmth ladder as it can be seen: what a wake started from, and what is held for the next."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from coldspark import clock
from coldspark.node.templates.template import Template
from coldspark.spec.types import ReplicaId

STARTS_MAX = 4_096
_UNPARKED_MAX = 64


class WakeLevel(StrEnum):
    """What a request finds, coldest first. A replica starts from the first four."""

    REMOTE = "remote"
    """Its model data or environment has still to be brought to this machine."""
    CACHED = "cached"
    """Its files are here, but nothing is imported yet."""
    TEMPLATED = "templated"
    """A template has imported its program, and loaded its model if that can be shared."""
    STANDBY = "standby"
    """A process was forked from the template ahead of its order."""
    PARKED = "parked"
    READY = "ready"
    BUSY = "busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateView:
    """One template as it is now, or was when its replica ended."""

    program: str
    pid: int
    users: int
    idle_s: float | None
    """How long it has had no replica."""
    memory_bytes: int
    is_settled: bool
    """False: it still imports."""
    is_fork_safe: bool
    has_model: bool
    has_setup: bool
    """Whether the program's ``setup_fn`` has run before the fork."""
    has_standby: bool
    has_loaded_standby: bool
    """The process that stands by has loaded the model, which is unsafe before the fork."""
    reason: str | None
    """Why its program or its model is not shared."""
    import_us: int | None
    load_us: int | None
    """None: it loaded no model."""
    load_private_bytes: int | None
    """By how much loading the model made its private memory grow."""
    learned_modules: int = 0
    """Modules that it imports because replicas were seen to import them later."""
    learned_us: int | None = None
    """How long importing them took, which each replica is spared."""
    denied_modules: Mapping[str, str] = field(default_factory=dict)
    """Modules that replicas import, but that do not bear a fork, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartView:
    """What one replica was started from."""

    replica: ReplicaId
    rung: WakeLevel
    template: TemplateView | None
    started_by: str | None
    """In words, as ``ReplicaView.template``."""
    resolve_us: int | None
    """How long finding and bringing its files took."""
    is_environment_built: bool
    unparked_ms: tuple[int, ...] = ()
    """When it was woken from its frozen state: the latest of those moments, by the wall clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """The templates of a machine, and their bounds."""

    templates: int
    templates_max: int
    memory_bytes: int
    memory_bytes_max: int
    idle_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStart:
    """What a revision without a replica would wake from now."""

    rung: WakeLevel
    template: TemplateView | None
    why: str
    """Why it is not a rung higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedFiles:
    """What a revision's files are on this machine; None: not known here."""

    code_bytes: int | None
    model_bytes: int | None
    environment_bytes: int | None
    has_own_environment: bool | None
    """False: it runs under the platform's own interpreter."""


def view_of(template: Template, idle_s: float | None = None) -> TemplateView:
    """Return a template as it is now."""
    return TemplateView(
        program=template.key.file_name,
        pid=template.pid,
        users=len(template.users),
        idle_s=idle_s,
        memory_bytes=template.memory_bytes + template.standby_bytes,
        is_settled=template.settled.is_set(),
        is_fork_safe=template.is_fork_safe,
        has_model=template.has_model,
        has_setup=template.has_setup,
        has_standby=template.has_standby,
        has_loaded_standby=template.has_loaded_standby,
        reason=template.reason,
        import_us=template.import_us,
        load_us=template.load_us,
        load_private_bytes=template.load_private_bytes,
        learned_modules=template.learned.modules,
        learned_us=template.learned.saved_us,
        denied_modules=template.learned.denied,
    )


def level_of(template: Template | None) -> WakeLevel:
    """Return the rung that a template is. One that holds no program spares no import."""
    if template is None or not template.is_alive or not template.settled.is_set():
        return WakeLevel.CACHED
    if template.key.program is None or not template.is_fork_safe:
        return WakeLevel.CACHED
    return WakeLevel.STANDBY if template.has_standby else WakeLevel.TEMPLATED


class StartHistory:
    """What each of the latest replicas was started from. Bounded; the oldest are forgotten."""

    def __init__(self, most: int = STARTS_MAX) -> None:
        self._most = most
        self._views: OrderedDict[ReplicaId, StartView] = OrderedDict()
        self._templates: dict[ReplicaId, Template] = {}
        """Of replicas that live: theirs may still settle."""

    def resolved(
        self, replica: ReplicaId, resolve_us: int, *, is_built: bool, rung: WakeLevel
    ) -> None:
        """Note that a replica's files are here, and how long that took."""
        self._views[replica] = StartView(
            replica=replica,
            rung=rung,
            template=None,
            started_by=None,
            resolve_us=resolve_us,
            is_environment_built=is_built,
        )
        while len(self._views) > self._most:
            forgotten, _ = self._views.popitem(last=False)
            self._templates.pop(forgotten, None)

    def acquired(self, replica: ReplicaId, rung: WakeLevel, template: Template) -> None:
        """Note what a replica found when it asked for its template."""
        known = self._views.get(replica)
        if known is not None:
            # What had to be fetched first was colder than any template.
            colder = WakeLevel.REMOTE if known.rung is WakeLevel.REMOTE else rung
            self._views[replica] = replace(known, rung=colder)
            self._templates[replica] = template

    def unparked(self, replica: ReplicaId) -> None:
        """Note that a replica is woken from its frozen state now."""
        known = self._views.get(replica)
        if known is not None:
            moments = (*known.unparked_ms, clock.wall_ms())[-_UNPARKED_MAX:]
            self._views[replica] = replace(known, unparked_ms=moments)

    def released(self, replica: ReplicaId) -> None:
        """Keep what its template was in the end, and let go of the template."""
        seen = self.of(replica)
        self._templates.pop(replica, None)
        if seen is not None:
            self._views[replica] = seen

    def of(self, replica: ReplicaId) -> StartView | None:
        """Return what a replica was started from, unless that was forgotten."""
        known, template = self._views.get(replica), self._templates.get(replica)
        if known is None or template is None:
            return known
        return replace(known, template=view_of(template), started_by=template.describe())
