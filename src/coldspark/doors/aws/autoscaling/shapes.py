"""What becomes of each member that Application Auto Scaling's operations take."""

from pathlib import Path

from coldspark.doors.aws.protocol.model import Bounds, Only, Overlay, Support
from coldspark.doors.aws.protocol.shapes import Boolean, Text

PAGE_MAX = 50
"""AWS's."""

_TARGET = "ResourceId ScalableDimension ServiceNamespace"
_PAGED = f"MaxResults NextToken {_TARGET}"

OVERLAY = Overlay(
    service="application-autoscaling",
    table=Path(__file__).with_name("model.json"),
    operations={
        "RegisterScalableTarget": f"{_TARGET} MaxCapacity MinCapacity RoleARN SuspendedState Tags",
        "DeregisterScalableTarget": _TARGET,
        "DescribeScalableTargets": (
            "MaxResults NextToken ResourceIds ScalableDimension ServiceNamespace"
        ),
        "PutScalingPolicy": Support(
            f"{_TARGET} PolicyName StepScalingPolicyConfiguration"
            " TargetTrackingScalingPolicyConfiguration",
            refused={
                "PredictiveScalingPolicyConfiguration": (
                    "use TargetTrackingScaling; the platform's own keep-alive learns from past"
                    " traffic"
                )
            },
            narrowed={"PolicyType": Only(("StepScaling", "TargetTrackingScaling"))},
        ),
        "DeleteScalingPolicy": f"{_TARGET} PolicyName",
        "DescribeScalingPolicies": f"{_PAGED} PolicyNames",
        "PutScheduledAction": (
            f"{_TARGET} EndTime ScalableTargetAction Schedule ScheduledActionName StartTime"
            " Timezone"
        ),
        "DeleteScheduledAction": f"{_TARGET} ScheduledActionName",
        "DescribeScheduledActions": f"{_PAGED} ScheduledActionNames",
        "DescribeScalingActivities": Support(
            _PAGED, narrowed={"IncludeNotScaledActivities": Boolean(only=False)}
        ),
        "ListTagsForResource": "ResourceARN",
        "TagResource": "ResourceARN Tags",
        "UntagResource": "ResourceARN TagKeys",
    },
    structures={
        "SuspendedState": (
            "DynamicScalingInSuspended DynamicScalingOutSuspended ScheduledScalingSuspended"
        ),
        "ScalableTargetAction": "MaxCapacity MinCapacity",
        "StepScalingPolicyConfiguration": Support(
            "AdjustmentType Cooldown MetricAggregationType MinAdjustmentMagnitude StepAdjustments",
            required=("AdjustmentType", "StepAdjustments"),
        ),
        "StepAdjustment": "MetricIntervalLowerBound MetricIntervalUpperBound ScalingAdjustment",
        "TargetTrackingScalingPolicyConfiguration": (
            "CustomizedMetricSpecification DisableScaleIn PredefinedMetricSpecification"
            " ScaleInCooldown ScaleOutCooldown TargetValue"
        ),
        "PredefinedMetricSpecification": Support(
            "PredefinedMetricType",
            refused={"ResourceLabel": "it is for load balancers of ECS and Spot Fleets"},
        ),
        "CustomizedMetricSpecification": Support(
            "Dimensions MetricName Namespace Statistic Unit",
            refused={
                "Metrics": (
                    "name one metric by MetricName, Namespace and Statistic; what an expression"
                    " comes to can be published with PutMetricData"
                )
            },
            required=("MetricName", "Namespace", "Statistic"),
        ),
        "MetricDimension": "Name Value",
    },
    types={
        "MaxResults": Bounds(1, PAGE_MAX),
        "TagMap": Bounds(max=50),
        "StepAdjustments": Bounds(1, 20),
        "MetricDimensions": Bounds(max=30),
        "ResourceCapacity": Bounds(),
        "MinAdjustmentMagnitude": Bounds(),
        "Cooldown": Bounds(),
        "MetricName": Bounds(1, 255),
        "MetricNamespace": Bounds(1, 255),
        "MetricDimensionName": Bounds(1, 255),
        "MetricDimensionValue": Bounds(1, 1_024),
        "MetricUnit": Bounds(1, 64),
        # The service says which it has: with the dimension that each is for.
        "MetricType": Text(max=128, min=1),
        # Python's re cannot take AWS's patterns of these.
        "ResourceIdMaxLen1600": Text(max=1_600, min=1),
        "XmlString": Text(max=4_096),
        "PolicyName": Text(r"[^\x00-\x1f\x7f]+", max=256, min=1, aws_pattern=r"\p{Print}+"),
        # AWS's pattern of it takes quadratic time.
        "ScheduledActionName": Text(
            r"(?! )[^\x00-\x1f\x7f-\x9f:/|]+(?<! )",
            max=256,
            min=1,
            aws_pattern=r"(?!((^[ ]+.*)|(.*([\u0000-\u001f]|[\u007f-\u009f]|[:/|])+.*)|(.*[ ]+$))).+",  # noqa: E501
        ),
    },
)
