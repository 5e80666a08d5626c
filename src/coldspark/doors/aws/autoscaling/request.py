"""One call, and the targets that it is about."""

from dataclasses import dataclass

from coldspark.autoscaling.scalable_target import ScalableTarget, TargetId
from coldspark.autoscaling.service import AutoscalingService
from coldspark.doors.aws.autoscaling.target_ids import DIMENSIONS, is_served, target_id_of
from coldspark.doors.aws.protocol.request import AwsRequest, text_list


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingRequest(AwsRequest):
    """One call of Application Auto Scaling."""

    scaling: AutoscalingService

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
