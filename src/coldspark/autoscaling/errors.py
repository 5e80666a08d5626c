"""What is refused because something is not there: the facts, which a door puts into words."""

from enum import StrEnum

from coldspark.autoscaling.scalable_target import ScalableDimension, TargetId
from coldspark.errors import InvalidRequest, NotFound


class Missing(StrEnum):
    """What is not there."""

    TARGET = "scalable target"
    """To which something was to be added."""
    REGISTRATION = "registered target"
    """Which was to be dropped."""
    POLICY = "scaling policy"
    ACTION = "scheduled action"


class ScalingNotFound(NotFound):
    """Refuse a target, or what it lacks."""

    def __init__(self, missing: Missing, place: TargetId, name: str = "") -> None:
        super().__init__(f"there is no {missing} {name} of {place}")
        self.missing = missing
        self.place = place
        self.name = name


class VariantNotFound(InvalidRequest):
    """Refuse to register what is not deployed."""

    def __init__(self, place: TargetId) -> None:
        super().__init__(f"nothing is deployed as {place}")
        self.place = place


class AlreadyRegistered(InvalidRequest):
    """Refuse a second target of one variant: both would set how many replicas there are."""

    def __init__(self, place: TargetId, other: ScalableDimension) -> None:
        super().__init__(f"{place} is registered for its {other} already: deregister that first")
        self.place = place
        self.other = other
