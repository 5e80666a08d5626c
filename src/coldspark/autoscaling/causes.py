"""What changes a target, and why: facts, which a door puts into words."""

from typing import TypeAlias

from msgspec import Struct


class Registered(Struct, frozen=True, tag="registered"):
    """The capacity is what the variant had when the target was registered."""


class PolicyTriggered(Struct, frozen=True, tag="policy"):
    """A policy asked for it."""

    policy: str
    alarm: str | None
    """The alarm in ALARM; None: a request at capacity 0."""


class ActionTriggered(Struct, frozen=True, tag="action"):
    """A scheduled action was due."""

    action: str


class BoundReached(Struct, frozen=True, tag="bound"):
    """The capacity was outside a bound that was set."""

    bound: int
    is_maximum: bool


class EndpointUpdated(Struct, frozen=True, tag="endpoint"):
    """The variant was given another count of its own."""


ScalingCause: TypeAlias = (
    Registered | PolicyTriggered | ActionTriggered | BoundReached | EndpointUpdated
)


class CapacitySet(Struct, frozen=True, tag="capacity"):
    """Another capacity was set."""

    capacity: int


class BoundsSet(Struct, frozen=True, kw_only=True, tag="bounds"):
    """Other bounds were set: None was not given, so that bound stayed."""

    least: int | None
    most: int | None
    became: tuple[int, int]
    """The least and the most together; refused if they cross."""


ScalingChange: TypeAlias = CapacitySet | BoundsSet
