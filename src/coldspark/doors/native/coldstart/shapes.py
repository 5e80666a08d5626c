"""The native API's bodies about warmth: what is held for an endpoint, and how its wakes went."""

import msgspec

from coldspark.doors.native.shapes import EndpointBody, UsageBody, VariantState


class TemplateBody(msgspec.Struct, kw_only=True):
    """One template: the process from which replicas are forked."""

    program: str
    pid: int
    users: int
    """Replicas that were forked from it, or wait for it."""
    idle_s: float | None
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
    """How long loading the model took; null where each replica loads it."""
    load_private_bytes: int | None
    """By how much loading the model made its private memory grow."""
    learned_modules: int
    """Modules that it imports because replicas were seen to import them later."""
    learned_us: int | None
    """How long importing them took, which each replica is spared."""
    denied_modules: dict[str, str]
    """Modules that replicas import, but that do not bear a fork, and why."""


class StartBody(msgspec.Struct, kw_only=True):
    """What a replica was started from."""

    replica: str
    rung: str
    """``remote``, ``cached``, ``templated`` or ``standby``."""
    started_by: str | None
    resolve_us: int | None
    """How long finding and bringing its files took."""
    is_environment_built: bool
    template: TemplateBody | None


class RequestBody(UsageBody, kw_only=True):
    """One line of the ledger, with what its replica was started from."""

    start: StartBody | None
    """Null: the server has forgotten it, or was restarted since."""
    start_nanos_estimated: int | None
    """Of a cold request: what its wait for the start cost, at the rate of its own busy time."""


class PoolBody(msgspec.Struct, kw_only=True):
    """The templates of the machine, and their bounds."""

    templates: int
    templates_max: int
    memory_bytes: int
    memory_bytes_max: int
    idle_timeout_s: float


class WarmthBody(msgspec.Struct, kw_only=True):
    """What a request would find now, and what is held for it."""

    rung: str
    """``remote``, ``cached``, ``templated``, ``standby``, ``parked``, ``ready`` or ``busy``."""
    why: str | None
    """Why it is not a rung higher."""
    idle_s: float | None
    """How long the replica, or else the template, has had nothing to do."""
    template: TemplateBody | None


class WarmVariant(VariantState, kw_only=True):
    """One variant, with its place on the warmth ladder."""

    warmth: WarmthBody


class WarmEndpoint(EndpointBody, kw_only=True):
    """One endpoint as it is now."""

    variants: list[WarmVariant]  # type: ignore[assignment]  # each tells more here


class DeployedBody(WarmEndpoint, kw_only=True):
    """The endpoint after a deploy."""

    unchanged: bool
    """It already was as asked."""


class EndpointsBody(msgspec.Struct, kw_only=True):
    """All endpoints that the key may look at, by name, and what is held for all."""

    endpoints: list[WarmEndpoint]
    templates: PoolBody | None
    """Null for a key that may not look at all endpoints."""


class StageBody(msgspec.Struct, kw_only=True):
    """How long one stage of the wakes took."""

    stage: str
    p50_us: int
    p95_us: int


class RungBody(msgspec.Struct, kw_only=True):
    """The wakes that began on one rung, and how long they took to be ready."""

    rung: str
    """``unknown``: before the server's last start, or forgotten."""
    wakes: int
    p50_us: int
    p95_us: int


class StockBody(msgspec.Struct, kw_only=True):
    """How large a variant's files are here; null: not known."""

    code_bytes: int | None
    model_bytes: int | None
    environment_bytes: int | None
    has_own_environment: bool | None


class AdviceBody(msgspec.Struct, kw_only=True):
    """One thing that would make wakes faster."""

    rule: str
    finding: str
    cure: str
    gain_us: int
    """Estimated from measured stages, of each wake that it concerns."""
    wakes: int


class ColdVariant(msgspec.Struct, kw_only=True):
    """The cold starts of one variant's present revision."""

    name: str
    revision: str
    wakes: int
    cold_requests: int
    failed: int
    older_wakes: int
    """Of earlier revisions: not in the figures."""
    rungs: list[RungBody]
    stages: list[StageBody]
    """The last, ``start``, is what a caller waits beyond the handler's own time."""
    warmth: WarmthBody
    template: TemplateBody | None
    """The one that is held, or else the last that a wake used."""
    stock: StockBody
    advice: list[AdviceBody]


class ColdstartBody(msgspec.Struct, kw_only=True):
    """How an endpoint's wakes went, and what would make them faster."""

    endpoint: str
    days: int
    lines: int
    """Of the ledger that were looked at."""
    is_complete: bool
    """False: older ones of these days were not."""
    variants: list[ColdVariant]
