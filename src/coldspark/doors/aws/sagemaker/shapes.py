"""What becomes of each member that SageMaker's operations take.

AWS takes at most 50 tags per resource; 200 are taken here (third-party suites page through 80).
"""

from pathlib import Path

from coldspark.doors.aws.protocol.model import Bounds, Only, Overlay, Support, Supports
from coldspark.doors.aws.protocol.shapes import Boolean, Integer, Number, Text

TAGS_MAX = 200

_REPLICAS_MAX = 10_000
_MODELS_PAGE = (
    "CreationTimeAfter CreationTimeBefore MaxResults NameContains NextToken SortBy SortOrder"
)
_PAGE = f"{_MODELS_PAGE} LastModifiedTimeAfter LastModifiedTimeBefore StatusEquals"
_ROLLING = (
    "MaximumBatchSize MaximumExecutionTimeoutInSeconds RollbackMaximumBatchSize"
    " WaitIntervalInSeconds"
)
_KEPT_TAGS = {"Tags": "of them, coldspark:gpu says which GPU a model wants"}
_KEPT = {"ExecutionRoleArn": "there is no IAM to act as a role", **_KEPT_TAGS}
_OFF = Boolean(only=False)
_NO_VPC = "replicas run on this machine's own network. Leave it out."
_NO_KEY = "nothing is encrypted with it. Leave it out."
_NOT_PINNED = "model data is read from S3Uri as it is. Leave it out."
_NO_PACKAGES = "give Image and ModelDataUrl instead."
_NO_SCRAPING = "metrics of a container are not scraped."
_ONE_SPECIFICATION = "give one Specification: there is one instance type."

_URL = Text(
    r"(?:https|s3)://[^/]+/?.*|file:///.+|/.+|artifact:[0-9a-f]{64}",
    max=1_024,
    aws_pattern="(https|s3)://([^/]+)/?(.*), or file:///path, /path, artifact:<sha256>",
)
_BUCKET_URL = r"s3://[^/]+(/.*)?"
_RESULTS_URL = Text(_BUCKET_URL, max=512, aws_pattern="s3://bucket/prefix")
_MEDIA_TYPE = Text(r"[a-zA-Z0-9](-*[a-zA-Z0-9.])*/[a-zA-Z0-9](-*[a-zA-Z0-9+.])*", max=256, min=1)
# Python's re has no \p{…}: \w is letters and digits, the rest are the separators (\p{Z}).
_TAG_TEXT = r"[\w .:/=+\-@\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
_TAG_SHOWN = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"

_MODELS: Supports = {
    "CreateModel": Support(
        "Containers InferenceExecutionConfig ModelName PrimaryContainer",
        kept=_KEPT,
        refused={"VpcConfig": _NO_VPC},
        narrowed={"EnableNetworkIsolation": _OFF},
    ),
    "DescribeModel": "ModelName",
    "DeleteModel": "ModelName",
    "ListModels": _MODELS_PAGE,
}
_CONFIGS: Supports = {
    "CreateEndpointConfig": Support(
        "AsyncInferenceConfig DataCaptureConfig EndpointConfigName ProductionVariants",
        kept=_KEPT,
        refused={
            "KmsKeyId": _NO_KEY,
            "ExplainerConfig": "explanations are not computed. Leave it out.",
            "VpcConfig": _NO_VPC,
            "MetricsConfig": "detailed metrics are not published. Leave it out.",
            "CrossRegionTrafficConfig": "there is one region here. Leave it out.",
        },
        narrowed={"EnableNetworkIsolation": _OFF, "ShadowProductionVariants": Bounds(1, 1)},
    ),
    "DescribeEndpointConfig": "EndpointConfigName",
    "DeleteEndpointConfig": "EndpointConfigName",
    "ListEndpointConfigs": _MODELS_PAGE,
}
_ENDPOINTS: Supports = {
    "CreateEndpoint": Support("DeploymentConfig EndpointConfigName EndpointName", kept=_KEPT_TAGS),
    "UpdateEndpoint": (
        "DeploymentConfig EndpointConfigName EndpointName ExcludeRetainedVariantProperties"
        " RetainAllVariantProperties RetainDeploymentConfig"
    ),
    "UpdateEndpointWeightsAndCapacities": "DesiredWeightsAndCapacities EndpointName",
    "DescribeEndpoint": "EndpointName",
    "DeleteEndpoint": "EndpointName",
    "ListEndpoints": _PAGE,
}
_COMPONENTS: Supports = {
    "CreateInferenceComponent": Support(
        "EndpointName InferenceComponentName RuntimeConfig Specification VariantName",
        kept=_KEPT_TAGS,
        refused={"Specifications": _ONE_SPECIFICATION},
    ),
    "UpdateInferenceComponent": Support(
        "DeploymentConfig InferenceComponentName RuntimeConfig Specification",
        refused={"Specifications": _ONE_SPECIFICATION},
    ),
    "UpdateInferenceComponentRuntimeConfig": "DesiredRuntimeConfig InferenceComponentName",
    "DescribeInferenceComponent": "InferenceComponentName",
    "DeleteInferenceComponent": "InferenceComponentName",
    "ListInferenceComponents": f"{_PAGE} EndpointNameEquals VariantNameEquals",
}
_TAGS: Supports = {
    "AddTags": Support("ResourceArn", kept=_KEPT_TAGS),
    "ListTags": "MaxResults NextToken ResourceArn",
    "DeleteTags": "ResourceArn TagKeys",
}

_CONTAINER: Supports = {
    "ContainerDefinition": Support(
        "Environment Image ImageConfig Mode ModelDataSource ModelDataUrl MultiModelConfig",
        kept={"ContainerHostname": "AWS too ignores it for a single container"},
        refused={
            "AdditionalModelDataSources": (
                "a model is one archive for one container. Put all of it in there."
            ),
            "ModelPackageName": _NO_PACKAGES,
            "InferenceSpecificationName": _NO_PACKAGES,
            "ContainerMetricsConfig": _NO_SCRAPING,
        },
    ),
    "ImageConfig": Support(
        refused={"RepositoryAuthConfig": "no registry is logged in to. Leave it out."},
        narrowed={"RepositoryAccessMode": Only(("Platform",))},
    ),
    "ModelDataSource": "S3DataSource",
    "S3ModelDataSource": Support(
        "CompressionType ModelAccessConfig S3DataType S3Uri",
        refused={
            "HubAccessConfig": _NOT_PINNED,
            "ManifestS3Uri": _NOT_PINNED,
            "ETag": _NOT_PINNED,
            "ManifestEtag": _NOT_PINNED,
        },
    ),
    "ModelAccessConfig": Support(kept={"AcceptEula": "it is the user's own statement"}),
    "MultiModelConfig": "ModelCacheSetting",
    "InferenceExecutionConfig": Support(narrowed={"Mode": Only(("Serial",))}),
    "Tag": "Key Value",
}
_VARIANT: Supports = {
    "ProductionVariant": Support(
        "AcceleratorType ContainerStartupHealthCheckTimeoutInSeconds InitialInstanceCount"
        " InitialVariantWeight InstanceType ManagedInstanceScaling"
        " ModelDataDownloadTimeoutInSeconds ModelName RoutingConfig ServerlessConfig VariantName",
        refused={
            "InstancePools": "give one InstanceType.",
            "VariantInstanceProvisionTimeoutInSeconds": (
                "use ContainerStartupHealthCheckTimeoutInSeconds."
            ),
            "CoreDumpConfig": "core dumps are not kept. Leave it out.",
            "VolumeSizeInGB": "replicas share this machine's disk. Leave it out.",
            "InferenceAmiVersion": "replicas run on this machine. Leave it out.",
            "CapacityReservationConfig": "this machine is yours. Leave it out.",
            "AcceleratorPartitionLayouts": (
                "ask for a slice with COLDSPARK_GPU, such as mig-3g.40gb."
            ),
        },
        narrowed={"EnableSSMAccess": _OFF},
    ),
    "ProductionVariantServerlessConfig": "MaxConcurrency MemorySizeInMB ProvisionedConcurrency",
    "ProductionVariantServerlessUpdateConfig": "MaxConcurrency ProvisionedConcurrency",
    "ProductionVariantManagedInstanceScaling": Support(
        "MaxInstanceCount MinInstanceCount Status",
        refused={"ScaleInPolicy": "set the model's variable COLDSPARK_IDLE_TIMEOUT."},
    ),
    "ProductionVariantRoutingConfig": Support(
        refused={"PrefixAwareRoutingConfig": "requests go to the first free slot."},
        narrowed={"RoutingStrategy": Only(("LEAST_OUTSTANDING_REQUESTS",))},
    ),
    "DesiredWeightAndCapacity": (
        "DesiredInstanceCount DesiredWeight ServerlessUpdateConfig VariantName"
    ),
    "VariantProperty": "VariantPropertyType",
    "DataCaptureConfig": Support(
        "CaptureContentTypeHeader CaptureOptions DestinationS3Uri EnableCapture"
        " InitialSamplingPercentage",
        refused={"KmsKeyId": _NO_KEY},
    ),
    "CaptureOption": "CaptureMode",
    "CaptureContentTypeHeader": "CsvContentTypes JsonContentTypes",
    "AsyncInferenceConfig": "ClientConfig OutputConfig",
    "AsyncInferenceClientConfig": "MaxConcurrentInvocationsPerInstance",
    "AsyncInferenceOutputConfig": Support(
        "NotificationConfig",
        refused={"KmsKeyId": _NO_KEY},
        narrowed={"S3OutputPath": _RESULTS_URL, "S3FailurePath": _RESULTS_URL},
        required=("S3OutputPath",),
    ),
    "AsyncInferenceNotificationConfig": "ErrorTopic IncludeInferenceResponseIn SuccessTopic",
}
_DEPLOYMENT: Supports = {
    "DeploymentConfig": "AutoRollbackConfiguration BlueGreenUpdatePolicy RollingUpdatePolicy",
    "BlueGreenUpdatePolicy": (
        "MaximumExecutionTimeoutInSeconds TerminationWaitInSeconds TrafficRoutingConfiguration"
    ),
    "TrafficRoutingConfig": "CanarySize LinearStepSize Type WaitIntervalInSeconds",
    "RollingUpdatePolicy": _ROLLING,
    "CapacitySize": "Type Value",
    "AutoRollbackConfig": "Alarms",
    "Alarm": "AlarmName",
    "InferenceComponentDeploymentConfig": "AutoRollbackConfiguration RollingUpdatePolicy",
    "InferenceComponentRollingUpdatePolicy": _ROLLING,
    "InferenceComponentCapacitySize": "Type Value",
}
_SPECIFICATION: Supports = {
    "InferenceComponentSpecification": Support(
        "ComputeResourceRequirements Container DataCacheConfig ModelName StartupParameters",
        refused={
            "InstanceType": "the InstanceType of the endpoint's variant counts.",
            "BaseInferenceComponentName": (
                "adapters are not loaded beside a base: put both into one model, or use a model of"
                " Mode 'MultiModel' with TargetModel."
            ),
            "SchedulingConfig": "there is one machine to place copies on. Leave it out.",
        },
    ),
    "InferenceComponentContainerSpecification": Support(
        "ArtifactUrl Environment Image", refused={"ContainerMetricsConfig": _NO_SCRAPING}
    ),
    "InferenceComponentStartupParameters": (
        "ContainerStartupHealthCheckTimeoutInSeconds ModelDataDownloadTimeoutInSeconds"
    ),
    "InferenceComponentComputeResourceRequirements": Support(
        "MaxMemoryRequiredInMb MinMemoryRequiredInMb NumberOfAcceleratorDevicesRequired"
        " NumberOfCpuCoresRequired",
        refused={
            "AcceleratorPartitionType": (
                "ask for a share of a GPU: NumberOfAcceleratorDevicesRequired 1, and the model's"
                " variable COLDSPARK_GPU such as A100/0.5."
            )
        },
    ),
    "InferenceComponentDataCacheConfig": Support(narrowed={"EnableCaching": Boolean(only=True)}),
    "InferenceComponentRuntimeConfig": "CopyCount",
}

OVERLAY = Overlay(
    service="sagemaker",
    table=Path(__file__).with_name("model.json"),
    operations={**_MODELS, **_CONFIGS, **_ENDPOINTS, **_COMPONENTS, **_TAGS},
    structures={**_CONTAINER, **_VARIANT, **_DEPLOYMENT, **_SPECIFICATION},
    types={
        "Url": _URL,
        "S3ModelUri": _URL,
        "DestinationS3Uri": Text(
            _BUCKET_URL, max=512, aws_pattern="(https|s3)://([^/])/?(.*), s3 alone here"
        ),
        "CsvContentType": _MEDIA_TYPE,
        "JsonContentType": _MEDIA_TYPE,
        "SnsTopicArn": Text(
            r"arn:aws[a-z\-]*:sns:[a-z0-9\-]*:[0-9]{12}:[a-zA-Z0-9_.-]+|https?://\S+",
            max=2_048,
            aws_pattern=(
                "arn:aws:sns:region:account:topic, or the http:// or https:// URL of a webhook"
            ),
        ),
        "TagList": Bounds(max=TAGS_MAX),
        "TagKeyList": Bounds(1, TAGS_MAX),
        "TagKey": Text(_TAG_TEXT, max=128, min=1, aws_pattern=_TAG_SHOWN),
        "TagValue": Text(_TAG_TEXT, max=256, aws_pattern=_TAG_SHOWN),
        # Any name that this machine's GPUs and instance types have.
        "ProductionVariantInstanceType": Text(r"\S+", max=64),
        "ProductionVariantAcceleratorType": Text(r"\S+", max=64),
        # Its bounds are checked with their own message: see ``variants``.
        "ServerlessMemorySizeInMB": Integer(),
        "ServerlessMaxConcurrency": Bounds(1, _REPLICAS_MAX),
        "ServerlessProvisionedConcurrency": Bounds(1, _REPLICAS_MAX),
        "InitialTaskCount": Bounds(1, _REPLICAS_MAX),
        "ManagedInstanceScalingMinInstanceCount": Bounds(0, _REPLICAS_MAX),
        "ManagedInstanceScalingMaxInstanceCount": Bounds(1, _REPLICAS_MAX),
        "TaskCount": Bounds(0, _REPLICAS_MAX),
        "CapacitySizeValue": Bounds(1, _REPLICAS_MAX),
        "InferenceComponentCopyCount": Bounds(0, _REPLICAS_MAX),
        "DesiredWeightAndCapacityList": Bounds(1, 100),
        # Under 1, a share of one.
        "NumberOfAcceleratorDevices": Number(0),
    },
)
