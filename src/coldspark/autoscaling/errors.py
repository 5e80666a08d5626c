"""What is refused because something is not there: the facts, which a door puts into words."""

from coldspark.autoscaling.scalable_target import ScalableDimension, TargetId
from coldspark.errors import InvalidRequest, NotFound


class TargetNotFound(NotFound):
    """Refuse a target that is not registered."""

    def __init__(self, place: TargetId) -> None:
        super().__init__(f"there is no scalable target for the {place.dimension} of {place}")
        self.place = place


class PolicyNotFound(NotFound):
    """Refuse a policy that the target lacks."""

    def __init__(self, place: TargetId, name: str) -> None:
        super().__init__(f"there is no scaling policy {name!r} of {place}")
        self.place = place
        self.name = name


class ActionNotFound(NotFound):
    """Refuse a scheduled action that the target lacks."""

    def __init__(self, place: TargetId, name: str) -> None:
        super().__init__(f"there is no scheduled action {name!r} of {place}")
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
