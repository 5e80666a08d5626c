"""What a router beside the lead answers when the lead asks."""

from dataclasses import dataclass
from typing import assert_never

from coldspark.billing.ledger import LedgerKeeper
from coldspark.cluster.alarm_cache import HeardAlarms
from coldspark.cluster.messages import (
    Absorb,
    Advices,
    Advise,
    Bound,
    CancelJob,
    Count,
    Counts,
    Deploy,
    Measure,
    Message,
    Question,
    RefreshKeys,
    Remove,
    SeeAll,
    Settle,
    Shares,
    Sight,
    StartOf,
)
from coldspark.cluster.metric_forwarder import SentMetrics
from coldspark.cluster.placement import RemoteRooms
from coldspark.http.auth.key_store import Keys
from coldspark.http.counters import Tally
from coldspark.jobs.ports import JobsAtWork
from coldspark.node.engine import LocalEngine
from coldspark.node.warmth import Warmth
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import EndpointView
from coldspark.spec.messages import PlacementEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One router's rooms, as the lead sees them."""

    platform: LocalPlatform
    engine: LocalEngine
    ledger: LedgerKeeper
    keys: Keys
    tally: Tally
    rooms: RemoteRooms
    alarms: HeardAlarms
    metrics: SentMetrics
    jobs: JobsAtWork

    def hear(self, message: Message) -> None:
        """Take what the lead says."""
        controller = self.platform.controller
        if isinstance(message, Shares):
            controller.accounts.hold_elsewhere(message.ppm)
            return
        effect: PlacementEffect | None = self.rooms.effect_of(message)
        if effect is not None:
            controller.driver.answer(effect)

    async def answer(self, question: Question) -> object:
        """Answer a question. Raises what the act that it asks for raises."""
        match question:
            case SeeAll():
                return self._sight()
            case Deploy(definition, raised):
                shift = definition.shift
                self.alarms.correct(() if shift is None else shift.alarms, raised)
                return await self.platform.deploy(definition)
            case Bound(name, variant, floor, ceiling, reason):
                return await self.platform.bound(name, variant, floor, ceiling, reason)
            case Remove(name):
                await self.platform.remove(name)
            case Settle():
                return await self._settled()
            case Absorb():
                self.metrics.flush()
                await self.ledger.absorb()
            case RefreshKeys():
                await self.keys.refresh()
            case Advise():
                return self._advices()
            case StartOf(replica):
                return self.engine.start_of(replica)
            case Measure():
                return await self.engine.measure()
            case CancelJob(endpoint, job):
                await self.jobs.cancel(endpoint, job)
            case _:
                assert_never(question)
        return None

    async def _settled(self) -> int:
        controller = self.platform.controller
        controller.settle()
        # Read at once: what is charged while the lines are absorbed is for the next time.
        nanos = controller.accounts.charged_nanos
        await self.ledger.absorb()
        return nanos

    def _advices(self) -> Advices:
        advice = self.platform.controller.driver.advise
        found = {replica: advice(replica) for replica in self.rooms.holders}
        return {replica: known for replica, known in found.items() if known is not None}

    def _sight(self) -> Sight:
        views = self.platform.endpoints()
        return Sight(
            views,
            [self._warmth(view) for view in views],
            self.engine.template_pool(),
            _counts(self.tally),
        )

    def _warmth(self, view: EndpointView) -> list[Warmth]:
        return [self.engine.warmth(variant.revision) for variant in view.variants]


def _counts(tally: Tally) -> Counts:
    requests = [Count(name, status, count) for (name, status), count in tally.requests.items()]
    return Counts(requests, list(tally.wakes), tally.wake_s_sum)
