"""Errors in Application Auto Scaling's words."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from coldspark.autoscaling.errors import (
    ActionNotFound,
    AlreadyRegistered,
    PolicyNotFound,
    TargetNotFound,
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


def worded(run: Callable[[Call], Awaitable[Answer]]) -> Callable[[Call], Awaitable[Answer]]:
    """Return an operation whose refusals are in AWS's sentences."""

    async def answer(call: Call) -> Answer:
        try:
            return await run(call)
        except TargetNotFound as error:
            raise _missing(f"No scalable target registered for {_label(error.place)}") from None
        except PolicyNotFound as error:
            label = f"{_label(error.place)}, policy name: {error.name}"
            raise _missing(f"No scaling policy found for {label}") from None
        except ActionNotFound as error:
            label = f"{_label(error.place)}, scheduled action name: {error.name}"
            raise _missing(f"No scheduled action found for {label}") from None
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


def no_target(place: TargetId) -> AwsError:
    """Return the error for a target that cannot be deregistered, as it is not there."""
    return _missing(f"No scalable target found for {_label(place)}")


def _missing(message: str) -> AwsError:
    return AwsError("ObjectNotFoundException", message)


def _label(place: TargetId) -> str:
    return (
        f"service namespace: {NAMESPACE}, resource ID: {place}, scalable dimension:"
        f" {DIMENSIONS[place.dimension]}"
    )
