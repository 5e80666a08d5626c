"""What the operations of inference components take, as data: members, bounds, what is refused.

================================================ ==================================================
member                                           what becomes of it
================================================ ==================================================
Names, ModelName or Container (Image,            honoured
  ArtifactUrl, Environment), StartupParameters,
  CopyCount, RollingUpdatePolicy, alarms
Tags                                             kept; ``coldspark:gpu`` is honoured
NumberOfAcceleratorDevicesRequired               honoured: so many of the instance's GPUs per copy,
                                                 or, under 1, a share of one
NumberOfCpuCoresRequired, MinMemoryRequiredInMb, honoured: what placement reserves for a copy, and
  MaxMemoryRequiredInMb                          where there are cgroups its limit
DataCacheConfig.EnableCaching true               accepted: model data are kept on this disk
  and false                                      refused
Specifications, InstanceType                     refused: the variant's instance type counts
AcceleratorPartitionType                         refused: a share of a GPU is asked for instead
BaseInferenceComponentName                       refused: adapters are not loaded beside a base
SchedulingConfig                                 refused: there is one machine to place copies on
ContainerMetricsConfig                           refused: metrics of a container are not scraped
================================================ ==================================================
"""

from coldspark.doors.aws.protocol.shapes import (
    Boolean,
    Dictionary,
    Enumeration,
    Integer,
    Number,
    Structure,
    Text,
    Unsupported,
)
from coldspark.doors.aws.sagemaker.shapes import (
    ALARMS,
    DEADLINE,
    LISTED_MEMBERS,
    MODEL_NAME,
    NAME,
    TAGS,
    URL,
    WAIT,
)

STATUSES = ("InService", "Creating", "Updating", "Failed", "Deleting")
_NAMED = {"InferenceComponentName": MODEL_NAME}
_SPECIFICATION = Structure(
    {
        "InstanceType": Unsupported("the InstanceType of the endpoint's variant counts."),
        "ModelName": MODEL_NAME,
        "Container": Structure(
            {
                "Image": Text(r"[\S]+", max=255),
                "ArtifactUrl": URL,
                "Environment": Dictionary(
                    Text("[a-zA-Z_][a-zA-Z0-9_]*", max=1_024), Text(max=1_024), max=100
                ),
                "ContainerMetricsConfig": Unsupported("metrics of a container are not scraped."),
            }
        ),
        "StartupParameters": Structure(
            {
                "ModelDataDownloadTimeoutInSeconds": Integer(60, 3_600),
                "ContainerStartupHealthCheckTimeoutInSeconds": Integer(60, 3_600),
            }
        ),
        "ComputeResourceRequirements": Structure(
            {
                "NumberOfCpuCoresRequired": Number(0.25),
                "NumberOfAcceleratorDevicesRequired": Number(0),
                "MinMemoryRequiredInMb": Integer(128),
                "MaxMemoryRequiredInMb": Integer(128),
                "AcceleratorPartitionType": Unsupported(
                    "ask for a share of a GPU: NumberOfAcceleratorDevicesRequired 1, and the"
                    " model's variable COLDSPARK_GPU such as A100/0.5."
                ),
            },
            ("MinMemoryRequiredInMb",),
        ),
        "BaseInferenceComponentName": Unsupported(
            "adapters are not loaded beside a base: put both into one model, or use a model of"
            " Mode 'MultiModel' with TargetModel."
        ),
        "DataCacheConfig": Structure({"EnableCaching": Boolean(only=True)}, ("EnableCaching",)),
        "SchedulingConfig": Unsupported("there is one machine to place copies on. Leave it out."),
    }
)
_RUNTIME_CONFIG = Structure({"CopyCount": Integer(0, 10_000)}, ("CopyCount",))
_SIZE = Structure(
    {"Type": Enumeration(("COPY_COUNT", "CAPACITY_PERCENT")), "Value": Integer(1, 10_000)},
    ("Type", "Value"),
)
_ONE_SPECIFICATION = Unsupported("give one Specification: there is one instance type.")

CREATE = Structure(
    {
        **_NAMED,
        "EndpointName": NAME,
        "VariantName": NAME,
        "Specification": _SPECIFICATION,
        "Specifications": _ONE_SPECIFICATION,
        "RuntimeConfig": _RUNTIME_CONFIG,
        "Tags": TAGS,
    },
    ("InferenceComponentName", "EndpointName"),
)
UPDATE = Structure(
    {
        **_NAMED,
        "Specification": _SPECIFICATION,
        "Specifications": _ONE_SPECIFICATION,
        "RuntimeConfig": _RUNTIME_CONFIG,
        "DeploymentConfig": Structure(
            {
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
            },
            ("RollingUpdatePolicy",),
        ),
    },
    ("InferenceComponentName",),
)
UPDATE_COPIES = Structure(
    {**_NAMED, "DesiredRuntimeConfig": _RUNTIME_CONFIG},
    ("InferenceComponentName", "DesiredRuntimeConfig"),
)
COMPONENT_NAMED = Structure(_NAMED, ("InferenceComponentName",))
COMPONENTS_LISTED = Structure(
    LISTED_MEMBERS
    | {
        "SortBy": Enumeration(("Name", "CreationTime", "Status")),
        "LastModifiedTimeBefore": Number(),
        "LastModifiedTimeAfter": Number(),
        "StatusEquals": Enumeration(STATUSES),
        "EndpointNameEquals": NAME,
        "VariantNameEquals": NAME,
    }
)
