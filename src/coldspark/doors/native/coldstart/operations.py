"""``/v1/endpoints/{name}/coldstart``, and where on the warmth ladder each variant is."""

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.responses import Response

from coldspark import clock
from coldspark.billing.usage import Usage
from coldspark.doors.native import ledger_pages
from coldspark.doors.native.coldstart.advice import advise
from coldspark.doors.native.coldstart.facts import (
    START_STAGES,
    ColdstartFacts,
    WakeCounts,
    count,
    percentile,
    with_starts,
)
from coldspark.doors.native.coldstart.shapes import (
    AdviceBody,
    ColdstartBody,
    ColdVariant,
    RungBody,
    StageBody,
    StockBody,
    TemplateBody,
    WarmthBody,
)
from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.ports import WarmthReader
from coldspark.http.auth.scopes import KeyAction
from coldspark.node.warmth import TemplateView, WakeLevel
from coldspark.platform.ports import ReplicaView, VariantView

_DAYS, _DAYS_MAX = 7, 366
_DAY_MS = 86_400_000
_TIMEOUT_S = 30.0
_LADDER = tuple(WakeLevel)


async def get_coldstart(ask: NativeRequest) -> Response:
    """Return how an endpoint's wakes went, and what would make them faster."""
    ask.allow(KeyAction.DEPLOY, ask.endpoint)
    days = ask.number("days", _DAYS, _DAYS_MAX, low=1)
    view = ask.app_state.platform.endpoint(ask.endpoint)
    since_ms = clock.wall_ms() - days * _DAY_MS
    async with asyncio.timeout(_TIMEOUT_S):
        stretch = await ledger_pages.read_page(
            ask.app_state.services.usages, ask.endpoint, since_ms=since_ms
        )
        variants = [
            await _report(variant, stretch.lines, ask.app_state.services.warmth)
            for variant in view.variants
        ]
    return json_response(
        ColdstartBody(
            endpoint=view.name,
            days=days,
            lines=len(stretch.lines),
            is_complete=stretch.is_complete,
            variants=variants,
        )
    )


def warmth_body(variant: VariantView, reader: WarmthReader) -> WarmthBody:
    """Return what a request for a variant would find now."""
    held = reader.warmth(variant.revision)
    template = None if held.template is None else _template(held.template)
    replica = _warmest(variant.replicas)
    if replica is None:
        is_starting = any(one.state in ("placing", "starting") for one in variant.replicas)
        return WarmthBody(
            rung=held.rung,
            why="a replica is starting" if is_starting else held.why,
            idle_s=None if held.template is None else held.template.idle_s,
            template=template,
        )
    why = "parked: the next request thaws it" if replica.state == WakeLevel.PARKED else None
    return WarmthBody(rung=replica.state, why=why, idle_s=replica.idle_s, template=template)


def _warmest(replicas: tuple[ReplicaView, ...]) -> ReplicaView | None:
    """Return the replica that is highest on the ladder, if one is on it."""
    warm = [
        one for one in replicas if one.state in (WakeLevel.PARKED, WakeLevel.READY, WakeLevel.BUSY)
    ]
    return max(warm, key=lambda one: _LADDER.index(WakeLevel(one.state)), default=None)


async def _report(
    variant: VariantView, lines: Sequence[Usage], reader: WarmthReader
) -> ColdVariant:
    mine = [line for line in lines if line.variant == variant.name]
    # Requests are served meanwhile, and 50,000 lines take 50 ms to count.
    found = await asyncio.to_thread(count, mine, variant.revision.id)
    counted = with_starts(found, reader.start_of)
    stock = await reader.cached_files(variant.revision)
    facts = ColdstartFacts(
        spec=variant.revision.spec,
        wakes=counted.wakes,
        warm_inferred_us=counted.warm_inferred_us,
        template=_template_of(variant, counted, reader),
        stock=stock,
        pool=reader.template_pool(),
    )
    return ColdVariant(
        name=variant.name,
        revision=variant.revision.id,
        wakes=len(counted.wakes),
        cold_requests=counted.cold_requests,
        failed=counted.failed,
        older_wakes=counted.older_wakes,
        rungs=_rungs(counted),
        stages=_stages(counted),
        warmth=warmth_body(variant, reader),
        template=None if facts.template is None else _template(facts.template),
        stock=msgspec.convert(stock, StockBody, from_attributes=True),
        advice=[msgspec.convert(one, AdviceBody, from_attributes=True) for one in advise(facts)],
    )


def _template_of(
    variant: VariantView, counted: WakeCounts, reader: WarmthReader
) -> TemplateView | None:
    """Return the template that is held, or else the last one known; a command has none."""
    if variant.revision.spec.handler is None:
        return None
    held = reader.warmth(variant.revision).template
    starts = (wake.start for wake in counted.wakes)
    return held or next((one.template for one in starts if one and one.template), None)


def _rungs(counted: WakeCounts) -> list[RungBody]:
    found = []
    for rung in (*_LADDER, None):
        starts_us = [wake.start_us for wake in counted.wakes if wake.level == rung]
        if starts_us:
            found.append(
                RungBody(
                    rung="unknown" if rung is None else rung.value,
                    wakes=len(starts_us),
                    p50_us=percentile(starts_us, 50),
                    p95_us=percentile(starts_us, 95),
                )
            )
    return found


def _stages(counted: WakeCounts) -> list[StageBody]:
    if not counted.wakes:
        return []
    by_stage = {
        name: [wake.stage_us(name) for wake in counted.wakes]
        for name in (*START_STAGES, "inferred")
    }
    by_stage["start"] = [wake.start_us for wake in counted.wakes]
    return [
        StageBody(stage=name, p50_us=percentile(values, 50), p95_us=percentile(values, 95))
        for name, values in by_stage.items()
    ]


def _template(view: TemplateView) -> TemplateBody:
    return msgspec.convert(view, TemplateBody, from_attributes=True)
