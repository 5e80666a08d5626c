"""Errors in Application Auto Scaling's words."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from coldspark.autoscaling.errors import (
    AlreadyRegistered,
    Missing,
    ScalingNotFound,
    VariantNotFound,
)
from coldspark.autoscaling.scalable_target import ScalableDimension, TargetId
from coldspark.doors.aws.autoscaling.target_ids import DIMENSIONS, NAMESPACE
from coldspark.doors.aws.protocol.errors import DEFAULT_TYPES, AwsError, invalid

Call = TypeVar("Call")
Answer = TypeVar("Answer")

TYPES = {
    **DEFAULT_TYPES,
    "NotFound": "ObjectNotFoundException",
    "Conflict": "LimitExceededException",
}
_MISSING = {
    Missing.TARGET: ("No scalable target registered", ""),
    Missing.REGISTRATION: ("No scalable target found", ""),
    Missing.POLICY: ("No scaling policy found", "policy name"),
    Missing.ACTION: ("No scheduled action found", "scheduled action name"),
}


def worded(run: Callable[[Call], Awaitable[Answer]]) -> Callable[[Call], Awaitable[Answer]]:
    """Return an operation whose refusals are in AWS's sentences."""

    async def answer(call: Call) -> Answer:
        try:
            return await run(call)
        except ScalingNotFound as error:
            what, name = _MISSING[error.missing]
            name = f", {name}: {error.name}" if name else ""
            raise AwsError(
                "ObjectNotFoundException", f"{what} for {_label(error.place)}{name}"
            ) from None
        except VariantNotFound as error:
            is_component = error.place.dimension is ScalableDimension.COPIES
            what = "inference component" if is_component else "variant"
            invalid(f"SageMaker {what} doesn't exist: {error.place}")
        except AlreadyRegistered as error:
            invalid(
                f"{error.place} is registered with the scalable dimension"
                f" {DIMENSIONS[error.other]} already: deregister that first, as both set how many"
                " replicas there are.",
                field="ScalableDimension",
            )

    return answer


def _label(place: TargetId) -> str:
    return (
        f"service namespace: {NAMESPACE}, resource ID: {place}, scalable dimension:"
        f" {DIMENSIONS[place.dimension]}"
    )
