"""What an operation is given: the rooms that it may ask, and the request as it was checked."""

from dataclasses import dataclass, field

from coldspark.config import NO_LIMITS, AwsLimits
from coldspark.doors.aws.protocol.request import AwsRequest
from coldspark.doors.aws.sagemaker.arns import resource_arn
from coldspark.doors.aws.sagemaker.asynchronous.jobs import AsyncJobs
from coldspark.doors.aws.sagemaker.images import ImageCatalogue
from coldspark.doors.aws.sagemaker.model_data import ModelData
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.metric_ports import Alarms
from coldspark.platform.ports import DocumentStore, Platform

DOOR = "sagemaker"


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerRequest(AwsRequest):
    """One call of SageMaker's control plane."""

    platform: Platform
    documents: DocumentStore
    catalogue: Catalogue
    alarms: Alarms | None
    """None: nobody watches alarms."""
    jobs: AsyncJobs | None
    """None: asynchronous invocations are not served."""
    images: ImageCatalogue = field(default_factory=ImageCatalogue)
    data: ModelData | None = None
    """None: model data is not looked at."""
    limits: AwsLimits = NO_LIMITS

    def name(self, member: str) -> str:
        """Return a member that the shape says is a string and required."""
        value = self.body[member]
        assert isinstance(value, str)
        return value

    def arn(self, noun: str, name: str) -> str:
        """Return an ARN in the caller's region."""
        return resource_arn(noun, name, self.region)


def seconds(at_ms: int) -> float:
    """Return a timestamp as JSON 1.1 writes it: seconds since the epoch."""
    return at_ms / 1_000
