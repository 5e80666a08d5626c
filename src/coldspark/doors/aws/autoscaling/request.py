"""What an operation is given, and how it reads the members that the shape has checked."""

from dataclasses import dataclass
from typing import TypeVar

from coldspark.autoscaling.scalable_target import ScalableTarget, TargetId
from coldspark.autoscaling.service import AutoscalingService
from coldspark.doors.aws.autoscaling.target_ids import DIMENSIONS, is_served, target_id_of
from coldspark.doors.aws.protocol.operations import Body

_Member = TypeVar("_Member")


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingRequest:
    """One call of one operation."""

    scaling: AutoscalingService
    region: str
    body: Body

    @property
    def target_id(self) -> TargetId:
        """Return which target a change is about."""
        return target_id_of(self.body, self.scaling.platform)

    async def targets(self) -> list[ScalableTarget]:
        """Return the targets that a list's filters leave."""
        if not is_served(self.body):
            # Of other services nothing can have been registered.
            return []
        await self.scaling.drop_gone()
        resources = text_list(self.body, "ResourceIds") or text_list(self.body, "ResourceId")
        dimension = self.body.get("ScalableDimension")
        return [
            target
            for target in self.scaling.targets.all()
            if (not resources or str(target.place) in resources)
            and dimension in (None, DIMENSIONS[target.place.dimension])
        ]


def member(body: Body, name: str, kind: type[_Member]) -> _Member | None:
    """Return an optional member."""
    value = body.get(name)
    assert value is None or isinstance(value, kind), name
    return value


def structure(body: Body, name: str) -> Body:
    """Return an optional structure's members; none where it is absent."""
    return member(body, name, dict) or {}


def number(body: Body, name: str) -> float | None:
    """Return an optional number."""
    value = body.get(name)
    assert value is None or isinstance(value, int | float), name
    return None if value is None else float(value)


def text_list(body: Body, name: str) -> list[str]:
    """Return an optional list of texts, or one text as a list of one."""
    value = body.get(name, [])
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def timestamp_ms(body: Body, name: str) -> int | None:
    """Return an optional moment."""
    at_s = number(body, name)
    return None if at_s is None else round(at_s * 1_000)
