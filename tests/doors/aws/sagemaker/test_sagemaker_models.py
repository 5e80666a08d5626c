"""Models: kept as they were sent, and refused where they could never run."""

import pytest
from aws_door import Door
from aws_requests import ARCHIVE, IMAGE, ROLE, arn, container, create_model, variant


def test_a_model_is_described_as_it_was_created(door: Door) -> None:
    """Describe echoes the request, less its tags, and adds ARN and time."""
    sent = container(Environment={"A": "1"})
    created = door.call(
        "CreateModel",
        ModelName="churn",
        PrimaryContainer=sent,
        ExecutionRoleArn=ROLE,
        Tags=[{"Key": "team", "Value": "growth"}],
    )

    assert created == {"ModelArn": arn("model", "churn")}
    described = door.call("DescribeModel", ModelName="churn")
    assert described.pop("CreationTime") > 1_600_000_000  # type: ignore[operator]
    assert described == {
        "ModelName": "churn",
        "ModelArn": arn("model", "churn"),
        "PrimaryContainer": sent,
        "ExecutionRoleArn": ROLE,
        "EnableNetworkIsolation": False,
    }


def test_empty_members_are_never_told_back(door: Door) -> None:
    """SDK v2 sends ``Environment: {}``; SDK v3's models break on what is empty."""
    door.call("CreateModel", ModelName="churn", PrimaryContainer=container(Environment={}), Tags=[])

    described = door.call("DescribeModel", ModelName="churn")
    assert described["PrimaryContainer"] == container()


def test_a_taken_name_and_a_missing_name_are_told_in_awss_words(door: Door) -> None:
    """Both are ValidationExceptions."""
    create_model(door)

    assert door.refusal("CreateModel", ModelName="churn", PrimaryContainer=container()) == (
        "ValidationException",
        f'Cannot create already existing model "{arn("model", "churn")}".',
    )
    for operation in ("DescribeModel", "DeleteModel"):
        assert door.refusal(operation, ModelName="nope") == (
            "ValidationException",
            f'Could not find model "{arn("model", "nope")}".',
        )


def test_a_deleted_model_is_gone_and_its_name_is_free(door: Door) -> None:
    """Its tags go with it."""
    create_model(door, Tags=[{"Key": "a", "Value": "b"}])
    door.call("DeleteModel", ModelName="churn")

    assert door.documents.rows == {}
    create_model(door)
    assert door.call("ListTags", ResourceArn=arn("model", "churn")) == {"Tags": []}


def test_one_container_may_stand_in_either_place_but_only_in_one(door: Door) -> None:
    """SDKs use both; two containers would be a pipeline."""
    create_model(door, "listed", PrimaryContainer=None, Containers=[container()])

    refused = door.refusal(
        "CreateModel", ModelName="both", PrimaryContainer=container(), Containers=[container()]
    )
    assert refused[1].startswith("Specify either PrimaryContainer or Containers")
    refused = door.refusal("CreateModel", ModelName="none")
    assert refused[1].startswith("Specify either PrimaryContainer or Containers")
    refused = door.refusal("CreateModel", ModelName="two", Containers=[container(), container()])
    assert "'containers' with 2 containers is not supported yet" in refused[1]


@pytest.mark.parametrize(
    ("member", "value", "where"),
    [
        ("Image", None, "The model needs an Image: use 'coldspark/python'"),
        ("Image", "coldspark/command", "COLDSPARK_COMMAND must name the program"),
        ("ModelDataUrl", "https://example.com/m.tar.gz", "is not an address of S3"),
        ("ModelDataUrl", "ftp://x/y", "Member must satisfy regular expression pattern"),
        ("Environment", {"COLDSPARK_IDLETIMEOUT": "1"}, "COLDSPARK_IDLETIMEOUT is not known"),
        ("Environment", {"COLDSPARK_IDLE_TIMEOUT": "soon"}, "must be a number of seconds"),
        ("Environment", {"COLDSPARK_REQUEST_TIMEOUT": "nan"}, "must be a number of seconds"),
        ("Environment", {"COLDSPARK_CONCURRENCY": "0"}, "must be a whole number over 0"),
        ("Environment", {"COLDSPARK_GPU_MEMORY": "15"}, "must be such as 15GB"),
        ("Environment", {"COLDSPARK_PING_PATH": "/up"}, "needs the image 'coldspark/command'"),
        ("Environment", {"SAGEMAKER_PROGRAM": "/etc/x.py"}, "must be a relative path"),
        ("Environment", {"1A": "x"}, "[a-zA-Z_][a-zA-Z0-9_]*"),
        (
            "ModelDataSource",
            {
                "S3DataSource": {
                    "S3Uri": "s3://b/k",
                    "S3DataType": "S3Prefix",
                    "CompressionType": "None",
                }
            },
            "either ModelDataUrl or ModelDataSource",
        ),
        ("Mode", "MultiModel", "must be a prefix with Mode 'MultiModel'"),
        ("ModelPackageName", "package", "'primaryContainer.modelPackageName' is not supported"),
        ("MultiModelConfig", {"ModelCacheSetting": "Enabled"}, "goes with Mode 'MultiModel'"),
        ("AdditionalModelDataSources", [{"ChannelName": "a"}], "additionalModelDataSources' is"),
        ("ImageConfig", {"RepositoryAccessMode": "Vpc"}, "use Platform, or leave it out"),
        ("Nonsense", 1, "'primaryContainer.nonsense' is not a member that is known here"),
    ],
)
def test_what_could_never_run_is_refused_at_once(
    door: Door, member: str, value: object, where: str
) -> None:
    """The message names the member and what to do."""
    refused = door.refusal(
        "CreateModel", ModelName="churn", PrimaryContainer=container(**{member: value})
    )

    assert refused[0] == "ValidationException"
    assert where in refused[1]
    assert door.documents.rows == {}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("VpcConfig", {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
        ("EnableNetworkIsolation", True),
        ("InferenceExecutionConfig", {"Mode": "Direct"}),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(door: Door, member: str, value: object) -> None:
    """Rather an error than a network that is not isolated."""
    refused = door.refusal(
        "CreateModel", ModelName="churn", PrimaryContainer=container(), **{member: value}
    )

    assert "is not supported yet" in refused[1]
    assert member[1:] in refused[1]


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        f"{IMAGE}:3.11",
        "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu-py310",
        "763104351884.dkr.ecr.eu-west-1.amazonaws.com/huggingface-pytorch-inference:2.1",
        "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
    ],
)
def test_images_of_handlers_are_taken(door: Door, image: str) -> None:
    """Those that AWS publishes for ``model_fn`` run as a handler here."""
    create_model(door, PrimaryContainer=container(Image=image))


def test_an_image_that_nothing_is_known_of_is_kept_and_what_would_run_it_refused(
    door: Door,
) -> None:
    """As on AWS, a model is only a record; the refusal names the line that would run it."""
    create_model(door, PrimaryContainer=container(Image="reg.example:5000/team/ner:3"))

    refused = door.refusal(
        "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[variant()]
    )
    assert refused[0] == "ValidationException"
    assert "Image 'reg.example:5000/team/ner:3' is not run here" in refused[1]
    assert '"reg.example:5000/team/ner*" = { handler = "inference.py" }' in refused[1]


def test_a_command_needs_no_model_data(door: Door) -> None:
    """A server may bring its own."""
    create_model(
        door,
        PrimaryContainer={
            "Image": "coldspark/command",
            "Environment": {"COLDSPARK_COMMAND": "python -m server"},
        },
    )


def test_models_are_listed_newest_first(door: Door) -> None:
    """Filters and paging are those of every list: see ``test_sagemaker_pages``."""
    for name in ("a", "b", "c"):
        create_model(door, name)

    listed = door.call("ListModels", MaxResults=2)["Models"]
    assert isinstance(listed, list)
    assert [row["ModelName"] for row in listed] == ["c", "b"]
    assert door.call("ListModels", NameContains="zzz") == {"Models": []}


def test_the_archive_of_these_tests_is_a_file(door: Door) -> None:
    """A path on this machine may be given in three ways."""
    for name, url in (("a", ARCHIVE), ("b", "/models/churn.tar.gz"), ("c", f"artifact:{'a' * 64}")):
        create_model(door, name, PrimaryContainer=container(ModelDataUrl=url))
