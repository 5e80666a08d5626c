"""What each operation takes, as data: members, bounds, and what is refused.

"Honoured" changes what runs; "kept" is metadata that AWS does not act on either, echoed by
Describe; all else that AWS knows is refused with a ValidationException that names the member.

================================================ ==================================================
member                                           what becomes of it
================================================ ==================================================
Image, ModelDataUrl, ModelDataSource (gzip or    honoured
  prefix), Environment
Tags                                             kept; ``coldspark:gpu`` is honoured
ExecutionRoleArn                                 kept: there is no IAM to act as a role
ContainerHostname                                kept: AWS too ignores it for a single container
ModelAccessConfig.AcceptEula                     kept: it is the user's own statement
Containers                                       honoured with one container, more are refused
Mode, MultiModelConfig                           honoured
Execution Mode Serial,                           accepted: it is what happens
  RepositoryAccessMode Platform, RoutingStrategy
  LEAST_OUTSTANDING_REQUESTS, EnableSSMAccess
  and EnableNetworkIsolation false
Direct, Vpc, the other strategies,               refused
  and those flags set to true
AdditionalModelDataSources, ImageConfig's        refused
  credentials, ModelPackageName,
  InferenceSpecificationName,
  ContainerMetricsConfig, VpcConfig, hub access,
  manifests and ETags of an S3DataSource
VariantName, ModelName, InitialVariantWeight,    honoured
  ServerlessConfig, InitialInstanceCount,
  InstanceType, ManagedInstanceScaling, the two
  start timeouts
AcceleratorType                                  honoured as the GPU's name (AWS retired the field)
InstancePools, provision timeout, CoreDumpConfig, refused
  VolumeSizeInGB, InferenceAmiVersion, capacity
  reservations, partition layouts, ScaleInPolicy
KmsKeyId                                         refused: nothing here is encrypted with it
AsyncInferenceConfig                             honoured; S3OutputPath is required, a topic may be
                                                 a webhook's URL
ExplainerConfig, MetricsConfig, cross-region     refused
  traffic
ShadowProductionVariants                         honoured: one shadow beside one variant, as AWS
DataCaptureConfig                                honoured; its KmsKeyId is refused
DeploymentConfig                                 honoured: blue/green all at once, canary and
                                                 linear, rolling, waits, deadline, alarms
RetainAllVariantProperties,                      honoured for weights, instance counts and data
  ExcludeRetainedVariantProperties               capture
RetainDeploymentConfig                           honoured: the last config holds for this update too
================================================ ==================================================

AWS takes at most 50 tags per resource; 200 are taken here (third-party suites page through 80).
"""

from coldspark.doors.aws.protocol.shapes import (
    Boolean,
    Dictionary,
    Enumeration,
    Integer,
    Number,
    Sequence,
    Shape,
    Structure,
    Text,
    Unsupported,
)

TAGS_MAX = 200

NAME = Text(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", max=63)
MODEL_NAME = Text(r"[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?", max=63)
_ROLE = Text(r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+", max=2_048, min=20)
# Python's re has no \p{…}: \w is letters and digits, the rest are the separators (\p{Z}).
_TAG_TEXT = r"[\w .:/=+\-@\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
_TAG_SHOWN = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"
_TAG_KEY = Text(_TAG_TEXT, max=128, min=1, aws_pattern=_TAG_SHOWN)
_TAG = Structure(
    {"Key": _TAG_KEY, "Value": Text(_TAG_TEXT, max=256, aws_pattern=_TAG_SHOWN)}, ("Key", "Value")
)
TAGS = Sequence(_TAG, max=TAGS_MAX)
_NO_VPC = Unsupported("replicas run on this machine's own network. Leave it out.")

URL = Text(
    r"(?:https|s3)://[^/]+/?.*|file:///.+|/.+|artifact:[0-9a-f]{64}",
    max=1_024,
    aws_pattern="(https|s3)://([^/]+)/?(.*), or file:///path, /path, artifact:<sha256>",
)
_NOT_PINNED = Unsupported("model data is read from S3Uri as it is. Leave it out.")
_S3_DATA_SOURCE = Structure(
    {
        "S3Uri": URL,
        "S3DataType": Enumeration(("S3Prefix", "S3Object")),
        "CompressionType": Enumeration(("None", "Gzip")),
        "ModelAccessConfig": Structure({"AcceptEula": Boolean()}, ("AcceptEula",)),
        "HubAccessConfig": _NOT_PINNED,
        "ManifestS3Uri": _NOT_PINNED,
        "ETag": _NOT_PINNED,
        "ManifestEtag": _NOT_PINNED,
    },
    ("S3Uri", "S3DataType", "CompressionType"),
)
_ONE_MODEL = Unsupported("a model is one archive for one container. Put all of it in there.")
_CONTAINER = Structure(
    {
        "ContainerHostname": NAME,
        "Image": Text(r"[\S]+", max=255),
        "ImageConfig": Structure(
            {
                "RepositoryAccessMode": Enumeration(("Platform", "Vpc"), ("Platform",)),
                "RepositoryAuthConfig": Unsupported("no registry is logged in to. Leave it out."),
            },
            ("RepositoryAccessMode",),
        ),
        "Mode": Enumeration(("SingleModel", "MultiModel")),
        "ModelDataUrl": URL,
        "ModelDataSource": Structure({"S3DataSource": _S3_DATA_SOURCE}),
        "AdditionalModelDataSources": _ONE_MODEL,
        "Environment": Dictionary(
            Text("[a-zA-Z_][a-zA-Z0-9_]*", max=1_024), Text(max=1_024), max=100
        ),
        "ModelPackageName": Unsupported("give Image and ModelDataUrl instead."),
        "InferenceSpecificationName": Unsupported("give Image and ModelDataUrl instead."),
        "MultiModelConfig": Structure({"ModelCacheSetting": Enumeration(("Enabled", "Disabled"))}),
        "ContainerMetricsConfig": Unsupported("metrics of a container are not scraped."),
    }
)
_NETWORK_ISOLATION = Boolean(only=False)

CREATE_MODEL = Structure(
    {
        "ModelName": MODEL_NAME,
        "PrimaryContainer": _CONTAINER,
        "Containers": Sequence(_CONTAINER, max=15),
        "InferenceExecutionConfig": Structure(
            {"Mode": Enumeration(("Serial", "Direct"), ("Serial",))}, ("Mode",)
        ),
        "ExecutionRoleArn": _ROLE,
        "Tags": TAGS,
        "VpcConfig": _NO_VPC,
        "EnableNetworkIsolation": _NETWORK_ISOLATION,
    },
    ("ModelName",),
)

_SERVERLESS_MEMBERS = {
    # The bounds of MemorySizeInMB are checked with its own message: see ``variants``.
    "MemorySizeInMB": Integer(),
    "MaxConcurrency": Integer(1, 10_000),
    "ProvisionedConcurrency": Integer(1, 10_000),
}
_SERVERLESS = Structure(_SERVERLESS_MEMBERS, ("MemorySizeInMB", "MaxConcurrency"))
_STRATEGIES = ("LEAST_OUTSTANDING_REQUESTS", "RANDOM", "PREFIX_AWARE", "KV_AWARE")
_VARIANT = Structure(
    {
        "VariantName": NAME,
        "ModelName": MODEL_NAME,
        "InitialInstanceCount": Integer(1, 10_000),
        "InstanceType": Text(r"\S+", max=64),
        "InstancePools": Unsupported("give one InstanceType."),
        "VariantInstanceProvisionTimeoutInSeconds": Unsupported(
            "use ContainerStartupHealthCheckTimeoutInSeconds."
        ),
        "InitialVariantWeight": Number(0),
        "AcceleratorType": Text(r"\S+", max=64),
        "CoreDumpConfig": Unsupported("core dumps are not kept. Leave it out."),
        "ServerlessConfig": _SERVERLESS,
        "VolumeSizeInGB": Unsupported("replicas share this machine's disk. Leave it out."),
        "ModelDataDownloadTimeoutInSeconds": Integer(60, 3_600),
        "ContainerStartupHealthCheckTimeoutInSeconds": Integer(60, 3_600),
        "EnableSSMAccess": Boolean(only=False),
        "ManagedInstanceScaling": Structure(
            {
                "Status": Enumeration(("ENABLED", "DISABLED")),
                "MinInstanceCount": Integer(0, 10_000),
                "MaxInstanceCount": Integer(1, 10_000),
                "ScaleInPolicy": Unsupported("set the model's variable COLDSPARK_IDLE_TIMEOUT."),
            }
        ),
        "RoutingConfig": Structure(
            {
                "RoutingStrategy": Enumeration(_STRATEGIES, _STRATEGIES[:1]),
                "PrefixAwareRoutingConfig": Unsupported("requests go to the first free slot."),
            },
            ("RoutingStrategy",),
        ),
        "InferenceAmiVersion": Unsupported("replicas run on this machine. Leave it out."),
        "CapacityReservationConfig": Unsupported("this machine is yours. Leave it out."),
        "AcceleratorPartitionLayouts": Unsupported(
            "ask for a slice with COLDSPARK_GPU, such as mig-3g.40gb."
        ),
    },
    ("VariantName",),
)
_MEDIA_TYPE = Text(r"[a-zA-Z0-9](-*[a-zA-Z0-9.])*/[a-zA-Z0-9](-*[a-zA-Z0-9+.])*", max=256, min=1)
_RESULTS_URL = Text(r"s3://[^/]+(/.*)?", max=512, aws_pattern="s3://bucket/prefix")
_TOPIC = Text(
    r"arn:aws[a-z\-]*:sns:[a-z0-9\-]*:[0-9]{12}:[a-zA-Z0-9_.-]+|https?://\S+",
    max=2_048,
    aws_pattern="arn:aws:sns:region:account:topic, or the http:// or https:// URL of a webhook",
)
_ASYNC = Structure(
    {
        "OutputConfig": Structure(
            {
                "S3OutputPath": _RESULTS_URL,
                "S3FailurePath": _RESULTS_URL,
                "KmsKeyId": Unsupported("nothing is encrypted with it. Leave it out."),
                "NotificationConfig": Structure(
                    {
                        "SuccessTopic": _TOPIC,
                        "ErrorTopic": _TOPIC,
                        "IncludeInferenceResponseIn": Sequence(
                            Enumeration(("SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC")),
                            max=2,
                        ),
                    }
                ),
            },
            ("S3OutputPath",),
        ),
        "ClientConfig": Structure({"MaxConcurrentInvocationsPerInstance": Integer(1, 1_000)}),
    },
    ("OutputConfig",),
)

CREATE_ENDPOINT_CONFIG = Structure(
    {
        "EndpointConfigName": NAME,
        "ProductionVariants": Sequence(_VARIANT, min=1, max=10),
        "DataCaptureConfig": Structure(
            {
                "EnableCapture": Boolean(),
                "InitialSamplingPercentage": Integer(0, 100),
                "DestinationS3Uri": Text(
                    r"s3://[^/]+(/.*)?",
                    max=512,
                    aws_pattern="(https|s3)://([^/])/?(.*), s3 alone here",
                ),
                "KmsKeyId": Unsupported("nothing is encrypted with it. Leave it out."),
                "CaptureOptions": Sequence(
                    Structure(
                        {"CaptureMode": Enumeration(("Input", "Output", "InputAndOutput"))},
                        ("CaptureMode",),
                    ),
                    min=1,
                    max=32,
                ),
                "CaptureContentTypeHeader": Structure(
                    {
                        "CsvContentTypes": Sequence(_MEDIA_TYPE, min=1, max=10),
                        "JsonContentTypes": Sequence(_MEDIA_TYPE, min=1, max=10),
                    }
                ),
            },
            ("InitialSamplingPercentage", "DestinationS3Uri", "CaptureOptions"),
        ),
        "Tags": TAGS,
        "KmsKeyId": Unsupported("nothing is encrypted with it. Leave it out."),
        "AsyncInferenceConfig": _ASYNC,
        "ExplainerConfig": Unsupported("explanations are not computed. Leave it out."),
        "ShadowProductionVariants": Sequence(_VARIANT, min=1, max=1),
        "ExecutionRoleArn": _ROLE,
        "VpcConfig": _NO_VPC,
        "EnableNetworkIsolation": _NETWORK_ISOLATION,
        "MetricsConfig": Unsupported("detailed metrics are not published. Leave it out."),
        "CrossRegionTrafficConfig": Unsupported("there is one region here. Leave it out."),
    },
    ("EndpointConfigName", "ProductionVariants"),
)

_SIZE = Structure(
    {"Type": Enumeration(("INSTANCE_COUNT", "CAPACITY_PERCENT")), "Value": Integer(1, 10_000)},
    ("Type", "Value"),
)
WAIT = Integer(0, 3_600)
DEADLINE = Integer(600, 28_800)
ALARMS = Structure(
    {
        "Alarms": Sequence(
            Structure({"AlarmName": Text(r"(?!\s*$).+", max=255, min=1)}), min=1, max=10
        )
    }
)
_DEPLOYMENT = Structure(
    {
        "BlueGreenUpdatePolicy": Structure(
            {
                "TrafficRoutingConfiguration": Structure(
                    {
                        "Type": Enumeration(("ALL_AT_ONCE", "CANARY", "LINEAR")),
                        # AWS requires it; between the steps of ALL_AT_ONCE there is no wait.
                        "WaitIntervalInSeconds": WAIT,
                        "CanarySize": _SIZE,
                        "LinearStepSize": _SIZE,
                    },
                    ("Type", "WaitIntervalInSeconds"),
                ),
                "TerminationWaitInSeconds": WAIT,
                "MaximumExecutionTimeoutInSeconds": DEADLINE,
            },
            ("TrafficRoutingConfiguration",),
        ),
        "RollingUpdatePolicy": Structure(
            {
                "MaximumBatchSize": _SIZE,
                "WaitIntervalInSeconds": WAIT,
                "MaximumExecutionTimeoutInSeconds": DEADLINE,
                "RollbackMaximumBatchSize": _SIZE,
            },
            ("MaximumBatchSize", "WaitIntervalInSeconds"),
        ),
        "AutoRollbackConfiguration": ALARMS,
    }
)

CREATE_ENDPOINT = Structure(
    {
        "EndpointName": NAME,
        "EndpointConfigName": NAME,
        "DeploymentConfig": _DEPLOYMENT,
        "Tags": TAGS,
    },
    ("EndpointName", "EndpointConfigName"),
)
UPDATE_ENDPOINT = Structure(
    {
        "EndpointName": NAME,
        "EndpointConfigName": NAME,
        "RetainAllVariantProperties": Boolean(),
        "ExcludeRetainedVariantProperties": Sequence(
            Structure(
                {
                    "VariantPropertyType": Enumeration(
                        ("DesiredInstanceCount", "DesiredWeight", "DataCaptureConfig")
                    )
                },
                ("VariantPropertyType",),
            ),
            max=3,
        ),
        "DeploymentConfig": _DEPLOYMENT,
        "RetainDeploymentConfig": Boolean(),
    },
    ("EndpointName", "EndpointConfigName"),
)
UPDATE_WEIGHTS = Structure(
    {
        "EndpointName": NAME,
        "DesiredWeightsAndCapacities": Sequence(
            Structure(
                {
                    "VariantName": NAME,
                    "DesiredWeight": Number(0),
                    "DesiredInstanceCount": Integer(0, 10_000),
                    "ServerlessUpdateConfig": Structure(
                        {
                            name: _SERVERLESS_MEMBERS[name]
                            for name in ("MaxConcurrency", "ProvisionedConcurrency")
                        }
                    ),
                },
                ("VariantName",),
            ),
            min=1,
            max=100,
        ),
    },
    ("EndpointName", "DesiredWeightsAndCapacities"),
)

MODEL_NAMED = Structure({"ModelName": MODEL_NAME}, ("ModelName",))
ENDPOINT_CONFIG_NAMED = Structure({"EndpointConfigName": NAME}, ("EndpointConfigName",))
ENDPOINT_NAMED = Structure({"EndpointName": NAME}, ("EndpointName",))

_TOKEN = Text(max=8_192)
LISTED_MEMBERS: dict[str, Shape] = {
    "SortBy": Enumeration(("Name", "CreationTime")),
    "SortOrder": Enumeration(("Ascending", "Descending")),
    "NextToken": _TOKEN,
    "MaxResults": Integer(1, 100),
    "NameContains": Text("[a-zA-Z0-9-]+", max=63),
    "CreationTimeBefore": Number(),
    "CreationTimeAfter": Number(),
}
LISTED = Structure(LISTED_MEMBERS)
ENDPOINT_STATUSES = (
    "OutOfService",
    "Creating",
    "Updating",
    "SystemUpdating",
    "RollingBack",
    "InService",
    "Deleting",
    "Failed",
    "UpdateRollbackFailed",
)
ENDPOINTS_LISTED = Structure(
    LISTED_MEMBERS
    | {
        "SortBy": Enumeration(("Name", "CreationTime", "Status")),
        "LastModifiedTimeBefore": Number(),
        "LastModifiedTimeAfter": Number(),
        "StatusEquals": Enumeration(ENDPOINT_STATUSES),
    }
)

_ARN = Text(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:[0-9]{12}:.+", max=256)
ADD_TAGS = Structure({"ResourceArn": _ARN, "Tags": TAGS}, ("ResourceArn", "Tags"))
LIST_TAGS = Structure(
    {"ResourceArn": _ARN, "NextToken": _TOKEN, "MaxResults": Integer(50)}, ("ResourceArn",)
)
DELETE_TAGS = Structure(
    {"ResourceArn": _ARN, "TagKeys": Sequence(_TAG_KEY, min=1, max=TAGS_MAX)},
    ("ResourceArn", "TagKeys"),
)
