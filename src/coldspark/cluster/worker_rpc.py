"""The handler of the primary's RPCs in another router's process."""

from dataclasses import dataclass
from typing import Protocol, assert_never

from coldspark.billing.ledger import LedgerStore
from coldspark.cluster.alarm_cache import AlarmStateCache
from coldspark.cluster.messages import (
    Advices,
    Advise,
    CancelJob,
    Count,
    Counts,
    Deploy,
    GetSnapshot,
    GetStart,
    IngestLines,
    MeasureReplicas,
    Message,
    Question,
    RefreshKeys,
    Remove,
    RouterSnapshot,
    SetScale,
    Settle,
    Shares,
)
from coldspark.cluster.metric_forwarder import MetricForwarder
from coldspark.cluster.placement import RemotePlacement
from coldspark.doors.ports import WarmthReader
from coldspark.http.auth.key_store import KeyStore
from coldspark.http.counters import RequestCounters
from coldspark.jobs.ports import JobsAtWork
from coldspark.node.replica_usage import ReplicaUsage
from coldspark.node.warmth import NextStart
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import EndpointView
from coldspark.spec.messages import PlacementEffect


class MeasuredEngine(WarmthReader, Protocol):
    """What the primary asks of a worker's engine."""

    async def measure(self) -> list[ReplicaUsage]:
        """Return what the running replicas use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRpc:
    """One router's parts, as the primary calls them."""

    platform: LocalPlatform
    engine: MeasuredEngine
    ledger: LedgerStore
    keys: KeyStore
    counters: RequestCounters
    placement: RemotePlacement
    alarms: AlarmStateCache
    metrics: MetricForwarder
    jobs: JobsAtWork

    def on_message(self, message: Message) -> None:
        """Handle a message of the primary."""
        controller = self.platform.controller
        if isinstance(message, Shares):
            controller.accounts.set_shares_elsewhere(message.ppm)
            return
        effect: PlacementEffect | None = self.placement.effect_of(message)
        if effect is not None:
            controller.driver.answer(effect)

    async def answer(self, question: Question) -> object:
        """Handle a request. Raises what the requested act raises."""
        match question:
            case GetSnapshot():
                return self._snapshot()
            case Deploy(definition, raised):
                deployment = definition.shift
                self.alarms.refresh(() if deployment is None else deployment.alarms, raised)
                return await self.platform.deploy(definition)
            case SetScale(name, variant, replicas_min, replicas_max, reason):
                return await self.platform.set_scale(
                    name, variant, replicas_min, replicas_max, reason
                )
            case Remove(name):
                await self.platform.remove(name)
            case Settle():
                return await self._settled()
            case IngestLines():
                self.metrics.flush()
                await self.ledger.ingest()
            case RefreshKeys():
                await self.keys.refresh()
            case Advise():
                return self._advice()
            case GetStart(replica):
                return self.engine.start_of(replica)
            case MeasureReplicas():
                return await self.engine.measure()
            case CancelJob(endpoint, job):
                await self.jobs.cancel(endpoint, job)
            case _:
                assert_never(question)
        return None

    async def _settled(self) -> int:
        controller = self.platform.controller
        controller.settle()
        # Read at once: what is charged while the lines are ingested is for the next time.
        nanos = controller.accounts.charged_nanos
        await self.ledger.ingest()
        return nanos

    def _advice(self) -> Advices:
        advice = self.platform.controller.driver.advise
        found = {replica: advice(replica) for replica in self.placement.holders}
        return {replica: known for replica, known in found.items() if known is not None}

    def _snapshot(self) -> RouterSnapshot:
        views = self.platform.endpoints()
        return RouterSnapshot(
            views,
            [self._warmth(view) for view in views],
            self.engine.template_pool(),
            _counts(self.counters),
        )

    def _warmth(self, view: EndpointView) -> list[NextStart]:
        return [self.engine.warmth(variant.revision) for variant in view.variants]


def _counts(tally: RequestCounters) -> Counts:
    requests = [Count(name, status, count) for (name, status), count in tally.requests.items()]
    return Counts(requests, list(tally.wakes), tally.wake_s_sum)
