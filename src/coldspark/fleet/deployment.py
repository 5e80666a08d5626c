"""One change of an endpoint: from its old replicas (blue) to its new ones (green), or back.

1. Blue serves until green is ready; then green's share of the requests grows step by step.
2. Blue keeps its replicas until the change is over. Only a ROLLING one takes them step by step,
   and gives them back before their requests return to them.
3. An alarm, a green that cannot start or the deadline takes the change back, up to its very end.
4. Where the devices do not hold both, green replaces blue in place: there are no steps then, but
   alarms and the bake time hold as ever.
5. Every change ends by exactly one of ``FinishDeployment`` and ``FinishRollback``, and every wait
   has an end.

It decides; ``platform/deployments.py`` does what it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from coldspark.fleet.replica import IllegalTransition
from coldspark.spec.deployment_policy import DeploymentPolicy, DeploymentStrategy
from coldspark.spec.messages import Ticked, WakeAt

ROLLBACK_PATIENCE_S = 60.0
"""For how long a step back waits for blue's replicas; then its requests queue for them."""


class DeploymentPhase(StrEnum):
    """Where a change is."""

    STARTING = "starting"
    SHIFTING = "shifting"
    REPLACING = "replacing"
    BAKING = "baking"
    REVERTING = "reverting"
    DONE = "done"
    REVERTED = "reverted"


_P = DeploymentPhase
TRANSITIONS: Mapping[DeploymentPhase, frozenset[DeploymentPhase]] = MappingProxyType(
    {
        _P.STARTING: frozenset({_P.SHIFTING, _P.REPLACING, _P.REVERTING}),
        _P.SHIFTING: frozenset({_P.BAKING, _P.REVERTING}),
        # A fleet that replaces in place takes a revision that cannot start back by itself.
        _P.REPLACING: frozenset({_P.BAKING, _P.REVERTING, _P.REVERTED}),
        _P.BAKING: frozenset({_P.DONE, _P.REVERTING}),
        _P.REVERTING: frozenset({_P.REVERTED}),
        _P.DONE: frozenset(),
        _P.REVERTED: frozenset(),
    }
)
FINAL_PHASES = frozenset({_P.DONE, _P.REVERTED})


@dataclass(frozen=True, slots=True)
class DeploymentBegun:
    """The change is written down. ``in_place`` says why green cannot run beside blue, if so."""

    in_place: str | None = None


@dataclass(frozen=True, slots=True)
class GreenReady:
    """Green has as many ready replicas as it was scaled to."""


@dataclass(frozen=True, slots=True)
class GreenFailed:
    """Green cannot start, or starts no more."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReservationMissing:
    """There was no room for green after all."""

    reason: str


@dataclass(frozen=True, slots=True)
class BlueReady:
    """Blue has as many ready replicas as it was scaled to."""


@dataclass(frozen=True, slots=True)
class ReplacedInPlace:
    """The fleets run what they were told to, in place."""


@dataclass(frozen=True, slots=True)
class ReplacementFailed:
    """The fleets took the revision back by themselves, in place."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeploymentAlarmRaised:
    """An alarm that watches over the change."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeploymentSuperseded:
    """Another change is asked for: this one ends now."""


DeploymentEvent = (
    DeploymentBegun
    | GreenReady
    | GreenFailed
    | ReservationMissing
    | BlueReady
    | ReplacedInPlace
    | ReplacementFailed
    | DeploymentAlarmRaised
    | DeploymentSuperseded
    | Ticked
)


@dataclass(frozen=True, slots=True)
class ScaleFleets:
    """Keep these parts of blue's and green's replicas ready; their ``…Ready`` follows."""

    blue: float
    green: float


@dataclass(frozen=True, slots=True)
class ShiftTraffic:
    """Send this part of the requests to green."""

    green: float


@dataclass(frozen=True, slots=True)
class ReplaceInPlace:
    """Let blue's fleets run green's revisions; ``ReplacedInPlace`` or its failure follows."""


@dataclass(frozen=True, slots=True)
class RestoreInPlace:
    """Let them run what they ran before; ``ReplacedInPlace`` or its failure follows."""


@dataclass(frozen=True, slots=True)
class FinishDeployment:
    """Green is all there is from here on: let blue go."""


@dataclass(frozen=True, slots=True)
class BeginRollback:
    """Write down that blue is what shall be, whatever happens from here on."""


@dataclass(frozen=True, slots=True)
class FinishRollback:
    """Blue is all there is: let green go."""

    reason: str


DeploymentEffect = (
    ScaleFleets
    | ShiftTraffic
    | ReplaceInPlace
    | RestoreInPlace
    | FinishDeployment
    | BeginRollback
    | FinishRollback
    | WakeAt
)


@dataclass(slots=True)
class TrafficDeployment:
    """One change. ``replicas`` is how many blue has: a step's size may be counted in them."""

    policy: DeploymentPolicy
    replicas: int
    time_limit_s: float
    """How long it may take up to its last step, from its begin here."""
    phase: DeploymentPhase = DeploymentPhase.STARTING
    green_share: float = 0.0
    """Green's, now."""
    since_s: float = 0.0
    """When the present phase or step began."""
    reason: str = ""
    """Why it is in place, or taken back."""
    is_in_place: bool = False
    is_waiting: bool = True
    """For replicas: of green on the way there, of blue on the way back."""
    _step: int = 0
    _due_s: float | None = None
    """When the present wait is over."""
    _deadline_s: float = 0.0
    _shares: tuple[float, ...] = ()
    _is_begun: bool = False
    _history: list[tuple[DeploymentPhase, float]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Return whether nothing comes any more."""
        return self.phase in FINAL_PHASES

    @property
    def steps(self) -> tuple[int, int]:
        """Return the present step and how many there are, counted from 1."""
        return self._step + 1, max(1, len(self._shares))

    def step(self, event: DeploymentEvent, now: float) -> list[DeploymentEffect]:
        """Take one event at ``now`` (monotonic seconds); return what shall be done, in order."""
        effects: list[DeploymentEffect] = []
        if self.is_over:
            return effects
        self._handle(event, now, effects)
        wake_s = self._wake_s()
        if wake_s is not None and not self.is_over:
            effects.append(WakeAt(wake_s))
        return effects

    def _handle(self, event: DeploymentEvent, now: float, effects: list[DeploymentEffect]) -> None:
        match event:
            case DeploymentBegun(in_place):
                self._begin(in_place, now, effects)
            case GreenReady():
                if self.is_waiting and self.phase in (_P.STARTING, _P.SHIFTING):
                    self._serve(now, effects)
            case GreenFailed(reason):
                if not self.is_in_place or self.phase is _P.BAKING:
                    self._take_back(reason, now, effects)
            case ReservationMissing(reason):
                if self.phase is _P.STARTING:
                    self._replace(reason, now, effects)
            case BlueReady():
                if self.phase is _P.REVERTING and not self.is_in_place:
                    self._step_back(now, effects)
            case ReplacedInPlace():
                self._replaced(now, effects)
            case ReplacementFailed(reason):
                self._replacement_failed(reason, now, effects)
            case DeploymentAlarmRaised(name, reason):
                self._take_back(f"alarm {name}: {reason}", now, effects)
            case DeploymentSuperseded():
                self._supersede(now, effects)
            case Ticked():
                self._tick(now, effects)
            case _:
                assert_never(event)

    def _begin(self, in_place: str | None, now: float, effects: list[DeploymentEffect]) -> None:
        if self._is_begun:
            return
        self._is_begun = True
        self.since_s, self._deadline_s = now, now + self.time_limit_s
        self._shares = self.policy.shares(self.replicas)
        if in_place is None:
            effects.append(ScaleFleets(1.0, self._green_part(0)))
        else:
            self._replace(in_place, now, effects)

    def _green_part(self, step: int) -> float:
        """Return how much of green has to be ready for a step: all of it, unless it is rolling."""
        return self._shares[step] if self.policy.kind is DeploymentStrategy.ROLLING else 1.0

    def _serve(self, now: float, effects: list[DeploymentEffect]) -> None:
        """Let green take its share of the present step."""
        if self.phase is _P.STARTING:
            self._move(_P.SHIFTING, now)
        self.is_waiting, self.since_s = False, now
        self._take_share(self._shares[self._step], effects)
        if self._step + 1 < len(self._shares):
            self._due_s = now + self.policy.wait_s
        else:
            self._bake(now, effects)

    def _take_share(self, share: float, effects: list[DeploymentEffect]) -> None:
        self.green_share = share
        effects.append(ShiftTraffic(share))

    def _bake(self, now: float, effects: list[DeploymentEffect]) -> None:
        self._move(_P.BAKING, now)
        self._due_s = now + self.policy.bake_s
        if self.policy.bake_s == 0.0:
            self._conclude(now, effects)

    def _conclude(self, now: float, effects: list[DeploymentEffect]) -> None:
        self._move(_P.DONE, now)
        effects.append(FinishDeployment())

    def _tick(self, now: float, effects: list[DeploymentEffect]) -> None:
        is_due = self._due_s is not None and self._due_s <= now
        if self.phase is _P.REVERTING:
            if is_due and self.is_in_place:
                self._reverted(now, effects)
            elif is_due:
                self._step_back(now, effects)
        elif self.phase is _P.BAKING:
            if is_due:
                self._conclude(now, effects)
        elif self._is_begun and now >= self._deadline_s:
            self._take_back(f"it was not done within {self.time_limit_s:g} s", now, effects)
        elif is_due:
            self._next_step(now, effects)

    def _next_step(self, now: float, effects: list[DeploymentEffect]) -> None:
        self._step += 1
        self._due_s = None
        if self.policy.kind is DeploymentStrategy.ROLLING:
            self.is_waiting, self.since_s = True, now
            effects.append(ScaleFleets(1.0 - self.green_share, self._green_part(self._step)))
        else:
            self._serve(now, effects)

    def _replace(self, reason: str, now: float, effects: list[DeploymentEffect]) -> None:
        self._move(_P.REPLACING, now)
        self.is_in_place, self.reason = True, reason
        effects.append(ReplaceInPlace())

    def _replaced(self, now: float, effects: list[DeploymentEffect]) -> None:
        if self.phase is _P.REPLACING:
            self.is_waiting = False
            self._bake(now, effects)
        elif self.phase is _P.REVERTING and self.is_in_place:
            self._reverted(now, effects)

    def _replacement_failed(self, reason: str, now: float, effects: list[DeploymentEffect]) -> None:
        if self.phase is _P.REPLACING:
            self.reason = reason
            effects.append(BeginRollback())
            self._reverted(now, effects)
        elif self.phase is _P.REVERTING and self.is_in_place:
            self._reverted(now, effects)

    def _take_back(self, reason: str, now: float, effects: list[DeploymentEffect]) -> None:
        """Begin to go back, unless that is under way."""
        if self.phase is _P.REVERTING or not self._is_begun:
            return
        self._move(_P.REVERTING, now)
        self.reason, self._due_s, self.is_waiting = reason, None, True
        effects.append(BeginRollback())
        if self.is_in_place:
            self._due_s = now + ROLLBACK_PATIENCE_S
            effects.append(RestoreInPlace())
        elif self.policy.kind is DeploymentStrategy.ROLLING and self.green_share > 0.0:
            self._give_back(now, effects)
        else:
            self._end_back(now, effects)

    def _give_back(self, now: float, effects: list[DeploymentEffect]) -> None:
        """Let blue have the replicas of the next step back."""
        self._due_s = now + ROLLBACK_PATIENCE_S
        effects.append(ScaleFleets(1.0 - self._share_back(), self.green_share))

    def _share_back(self) -> float:
        size = self.policy.rollback_step
        step = 1.0 if size is None else size.share(self.replicas)
        left = self.green_share - step
        return left if left > 1e-6 else 0.0

    def _step_back(self, now: float, effects: list[DeploymentEffect]) -> None:
        share = self._share_back()
        if share == 0.0:
            self._end_back(now, effects)
        else:
            self._take_share(share, effects)
            self._give_back(now, effects)

    def _end_back(self, now: float, effects: list[DeploymentEffect]) -> None:
        self._take_share(0.0, effects)
        self._reverted(now, effects)

    def _reverted(self, now: float, effects: list[DeploymentEffect]) -> None:
        self._move(_P.REVERTED, now)
        self.green_share = 0.0
        effects.append(FinishRollback(self.reason))

    def _supersede(self, now: float, effects: list[DeploymentEffect]) -> None:
        """What has all requests already stays; else blue does."""
        if self.phase is _P.REPLACING:
            self._move(_P.BAKING, now)
        if self.phase is _P.BAKING:
            self._conclude(now, effects)
            return
        self.reason = self.reason or "another change was asked for"
        if self.phase is not _P.REVERTING:
            self._move(_P.REVERTING, now)
            effects.append(BeginRollback())
        self._end_back(now, effects)

    def _wake_s(self) -> float | None:
        """Return when time alone changes something, if it ever does."""
        due_s = self._due_s
        if self.phase in (_P.BAKING, _P.REVERTING) or not self._is_begun:
            return due_s
        return self._deadline_s if due_s is None else min(due_s, self._deadline_s)

    def _move(self, phase: DeploymentPhase, now: float) -> None:
        if phase not in TRANSITIONS[self.phase]:
            story = " -> ".join(f"{name}@{at:.3f}" for name, at in self._history)
            raise IllegalTransition(f"{self.phase} -> {phase} after {story or 'begin'}")
        self._history.append((phase, now))
        self.phase, self.since_s = phase, now

    def check(self) -> None:
        """Assert what must hold after every step."""
        assert 0.0 <= self.green_share <= 1.0
        if self.phase in (_P.STARTING, _P.REPLACING, _P.REVERTED):
            assert self.green_share == 0.0
        if self.phase in (_P.BAKING, _P.DONE) and not self.is_in_place:
            assert self.green_share == 1.0
        if self.phase is _P.BAKING:
            assert self._due_s is not None, "it bakes without end"
        if self.phase is _P.SHIFTING:
            assert self.is_waiting or self._due_s is not None, "a step waits for nothing"
        if self.phase is _P.REVERTING:
            assert self._due_s is not None, "the way back has no end"
            assert self.reason
        assert self.is_over or not self._is_begun or self._step < len(self._shares)
