"""Wakes, templates and ledger lines as tests of cold starts need them."""

from dataclasses import replace
from typing import Any

from gateway_fakes import definition, receipt
from msgspec import structs

from coldspark.billing.usage import Usage
from coldspark.doors.native.coldstart.facts import ColdstartFacts, Wake
from coldspark.node.warmth import CachedFiles, PoolView, StartView, TemplateView, WakeLevel
from coldspark.platform.ports import Invocation
from coldspark.spec.types import EndpointName, ReplicaId, RequestId, ScalePolicy, Spec
from coldspark.spec.waterfall import Waterfall

HANDLER = definition().variants[0].revision.spec
POOL = PoolView(
    templates=1,
    templates_max=16,
    memory_bytes=40_000_000,
    memory_bytes_max=8 * 2**30,
    idle_timeout_s=300.0,
)
STOCK = CachedFiles(
    code_bytes=900, model_bytes=None, environment_bytes=None, has_own_environment=False
)


def template(**changes: Any) -> TemplateView:
    """Return a template that holds its model."""
    plain = TemplateView(
        program="inference.py",
        pid=4711,
        users=1,
        idle_s=None,
        memory_bytes=40_000_000,
        is_settled=True,
        is_fork_safe=True,
        has_model=True,
        has_setup=False,
        has_standby=True,
        has_loaded_standby=False,
        reason=None,
        import_us=1_900_000,
        load_us=210_000,
        load_private_bytes=1_000_000,
    )
    return replace(plain, **changes)


def start(rung: WakeLevel, replica: str = "r-1", **changes: Any) -> StartView:
    """Return what a replica was started from."""
    plain = StartView(
        replica=ReplicaId(replica),
        rung=rung,
        template=template(),
        started_by="fork of template inference.py",
        resolve_us=300,
        is_environment_built=False,
    )
    return replace(plain, **changes)


def wake(
    rung: WakeLevel | None = WakeLevel.STANDBY,
    *,
    gap_ms: int | None = None,
    is_built: bool = False,
    **stages_us: int,
) -> Wake:
    """Return a wake whose stages took what is given."""
    return Wake(
        waterfall=Waterfall(**stages_us),
        replica=ReplicaId("r-1"),
        start=None if rung is None else start(rung, is_environment_built=is_built),
        gap_ms=gap_ms,
    )


def facts(*wakes: Wake, spec: Spec = HANDLER, **changes: Any) -> ColdstartFacts:
    """Return facts about these wakes."""
    return replace(
        ColdstartFacts(spec=spec, wakes=wakes, template=template(), stock=STOCK, pool=POOL),
        **changes,
    )


def with_model(model: str) -> Spec:
    """Return a spec with model data."""
    return replace(HANDLER, model=model)


def idle_after(seconds: float) -> Spec:
    """Return a spec whose idle replicas end after this long."""
    return replace(HANDLER, scale=ScalePolicy(idle_timeout_s=seconds))


def line(
    request: str,
    replica: str | None = "r-1",
    *,
    at_ms: int = 1_700_000_000_000,
    is_cold: bool = True,
    error: str | None = None,
    **stages_us: int,
) -> Usage:
    """Return a ledger line of the endpoint ``churn``."""
    asked = Invocation(endpoint=EndpointName("churn"), started_s=0.0, request=RequestId(request))
    fall = Waterfall(**stages_us)
    return structs.replace(
        receipt(asked, waterfall=fall, error=error).usage,
        replica=None if replica is None else ReplicaId(replica),
        arrived_ms=at_ms,
        duration_ms=fall.total_us // 1000,
        is_cold=is_cold,
    )
