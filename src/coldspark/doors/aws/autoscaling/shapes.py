"""What each operation takes. Words are AWS's; what is not done here is refused with a cure."""

from coldspark.doors.aws.protocol.shapes import (
    INSTANT,
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

NAMESPACES = (
    "appstream",
    "cassandra",
    "comprehend",
    "custom-resource",
    "dynamodb",
    "ec2",
    "ecs",
    "elasticache",
    "elasticmapreduce",
    "kafka",
    "lambda",
    "neptune",
    "rds",
    "sagemaker",
    "workspaces",
)
DIMENSIONS = (
    "appstream:fleet:DesiredCapacity",
    "cassandra:table:ReadCapacityUnits",
    "cassandra:table:WriteCapacityUnits",
    "comprehend:document-classifier-endpoint:DesiredInferenceUnits",
    "comprehend:entity-recognizer-endpoint:DesiredInferenceUnits",
    "custom-resource:ResourceType:Property",
    "dynamodb:index:ReadCapacityUnits",
    "dynamodb:index:WriteCapacityUnits",
    "dynamodb:table:ReadCapacityUnits",
    "dynamodb:table:WriteCapacityUnits",
    "ec2:spot-fleet-request:TargetCapacity",
    "ecs:service:DesiredCount",
    "elasticache:cache-cluster:Nodes",
    "elasticache:replication-group:NodeGroups",
    "elasticache:replication-group:Replicas",
    "elasticmapreduce:instancegroup:InstanceCount",
    "kafka:broker-storage:VolumeSize",
    "lambda:function:ProvisionedConcurrency",
    "neptune:cluster:ReadReplicaCount",
    "rds:cluster:ReadReplicaCount",
    "sagemaker:inference-component:DesiredCopyCount",
    "sagemaker:variant:DesiredInstanceCount",
    "sagemaker:variant:DesiredProvisionedConcurrency",
    "workspaces:workspacespool:DesiredUserSessions",
)
_STATISTICS = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")
_AGGREGATIONS = ("Average", "Maximum", "Minimum")
_ADJUSTMENTS = ("ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity")
_POLICY_TYPES = ("PredictiveScaling", "StepScaling", "TargetTrackingScaling")
PAGE_MAX = 50
"""AWS's."""

_WORDS = Text(max=1600, min=1)
_NAMESPACE = Enumeration(NAMESPACES)
_DIMENSION = Enumeration(DIMENSIONS)
_TARGET: dict[str, Shape] = {
    "ServiceNamespace": _NAMESPACE,
    "ResourceId": _WORDS,
    "ScalableDimension": _DIMENSION,
}
_TARGET_NAMED = tuple(_TARGET)
_PAGED: dict[str, Shape] = {
    "MaxResults": Integer(min=1, max=PAGE_MAX),
    "NextToken": Text(max=4096),
}
_NAMES = Sequence(_WORDS, max=50)
_TAGS = Dictionary(Text(max=128, min=1), Text(max=256), max=50)
_SUSPENDED = Structure(
    {
        "DynamicScalingInSuspended": Boolean(),
        "DynamicScalingOutSuspended": Boolean(),
        "ScheduledScalingSuspended": Boolean(),
    }
)
_COOLDOWN = Integer(min=0)

REGISTER = Structure(
    _TARGET
    | {
        "MinCapacity": Integer(min=0),
        "MaxCapacity": Integer(min=0),
        "RoleARN": _WORDS,
        "SuspendedState": _SUSPENDED,
        "Tags": _TAGS,
    },
    _TARGET_NAMED,
)
TARGET_NAMED = Structure(_TARGET, _TARGET_NAMED)
TARGETS_LISTED = Structure(
    {
        "ServiceNamespace": _NAMESPACE,
        "ResourceIds": _NAMES,
        "ScalableDimension": _DIMENSION,
        **_PAGED,
    },
    ("ServiceNamespace",),
)

_STEPS = Sequence(
    Structure(
        {
            "MetricIntervalLowerBound": Number(),
            "MetricIntervalUpperBound": Number(),
            "ScalingAdjustment": Integer(),
        },
        ("ScalingAdjustment",),
    ),
    min=1,
    max=20,
)
_STEP_SCALING = Structure(
    {
        "AdjustmentType": Enumeration(_ADJUSTMENTS),
        "StepAdjustments": _STEPS,
        "MinAdjustmentMagnitude": Integer(min=0),
        "Cooldown": _COOLDOWN,
        "MetricAggregationType": Enumeration(_AGGREGATIONS),
    },
    ("AdjustmentType", "StepAdjustments"),
)
_CUSTOMIZED = Structure(
    {
        "MetricName": Text(max=255, min=1),
        "Namespace": Text(max=255, min=1),
        "Dimensions": Sequence(
            Structure(
                {"Name": Text(max=255, min=1), "Value": Text(max=1024, min=1)}, ("Name", "Value")
            ),
            max=30,
        ),
        "Statistic": Enumeration(_STATISTICS),
        "Unit": Text(max=64, min=1),
        "Metrics": Unsupported(
            "name one metric by MetricName, Namespace and Statistic; what an expression comes to"
            " can be published with PutMetricData"
        ),
    },
    ("MetricName", "Namespace", "Statistic"),
)
_TARGET_TRACKING = Structure(
    {
        "TargetValue": Number(),
        "PredefinedMetricSpecification": Structure(
            {
                "PredefinedMetricType": Text(max=128, min=1),
                "ResourceLabel": Unsupported("it is for load balancers of ECS and Spot Fleets"),
            },
            ("PredefinedMetricType",),
        ),
        "CustomizedMetricSpecification": _CUSTOMIZED,
        "ScaleOutCooldown": _COOLDOWN,
        "ScaleInCooldown": _COOLDOWN,
        "DisableScaleIn": Boolean(),
    },
    ("TargetValue",),
)
PUT_POLICY = Structure(
    {
        "PolicyName": Text(r"[^\x00-\x1f\x7f]+", max=256, min=1, aws_pattern=r"\p{Print}+"),
        **_TARGET,
        "PolicyType": Enumeration(_POLICY_TYPES, ("StepScaling", "TargetTrackingScaling")),
        "StepScalingPolicyConfiguration": _STEP_SCALING,
        "TargetTrackingScalingPolicyConfiguration": _TARGET_TRACKING,
        "PredictiveScalingPolicyConfiguration": Unsupported(
            "use TargetTrackingScaling; the platform's own keep-alive learns from past traffic"
        ),
    },
    ("PolicyName", *_TARGET_NAMED),
)
POLICY_NAMED = Structure({"PolicyName": _WORDS, **_TARGET}, ("PolicyName", *_TARGET_NAMED))
_LISTED: dict[str, Shape] = {
    "ServiceNamespace": _NAMESPACE,
    "ResourceId": _WORDS,
    "ScalableDimension": _DIMENSION,
    **_PAGED,
}
POLICIES_LISTED = Structure({"PolicyNames": _NAMES, **_LISTED}, ("ServiceNamespace",))

PUT_ACTION = Structure(
    {
        **_TARGET,
        "ScheduledActionName": Text(
            r"(?! )[^\x00-\x1f\x7f-\x9f:/|]+(?<! )",
            max=256,
            min=1,
            aws_pattern=r"(?!((^[ ]+.*)|(.*([\u0000-\u001f]|[\u007f-\u009f]|[:/|])+.*)|(.*[ ]+$))).+",  # noqa: E501
        ),
        "Schedule": _WORDS,
        "Timezone": _WORDS,
        "StartTime": INSTANT,
        "EndTime": INSTANT,
        "ScalableTargetAction": Structure(
            {"MinCapacity": Integer(min=0), "MaxCapacity": Integer(min=0)}
        ),
    },
    ("ScheduledActionName", *_TARGET_NAMED),
)
ACTION_NAMED = Structure(
    {"ScheduledActionName": _WORDS, **_TARGET}, ("ScheduledActionName", *_TARGET_NAMED)
)
ACTIONS_LISTED = Structure({"ScheduledActionNames": _NAMES, **_LISTED}, ("ServiceNamespace",))
ACTIVITIES_LISTED = Structure(
    {**_LISTED, "IncludeNotScaledActivities": Boolean(only=False)}, ("ServiceNamespace",)
)

_ARN = Text(
    r"arn:.+:application-autoscaling:.+:[0-9]+:scalable-target/[a-zA-Z0-9-]+", max=1011, min=1
)
TAGS_LISTED = Structure({"ResourceARN": _ARN}, ("ResourceARN",))
TAG = Structure({"ResourceARN": _ARN, "Tags": _TAGS}, ("ResourceARN", "Tags"))
UNTAG = Structure(
    {"ResourceARN": _ARN, "TagKeys": Sequence(Text(max=128, min=1), max=200)},
    ("ResourceARN", "TagKeys"),
)
