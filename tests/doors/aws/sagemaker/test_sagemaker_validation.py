"""Requests that are wrong in themselves: AWS's sentences, and the routes' own refusals."""

from collections.abc import Iterator, Mapping

import botocore.model
import pytest
from aws_door import BASE_URL, Door
from aws_requests import container, create_model, variant
from service_model import model, problems
from starlette.testclient import TestClient

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
    check,
)
from coldspark.errors import InvalidRequest

TYPES = {
    Structure: {"structure"},
    Sequence: {"list"},
    Dictionary: {"map"},
    Text: {"string"},
    Enumeration: {"string"},
    Integer: {"integer", "long"},
    Number: {"float", "double", "timestamp"},
    Boolean: {"boolean"},
}
"""Of AWS's model, for each of ours."""
OPERATIONS = Door().service.operations
SHAPE = Structure(
    {
        "Name": Text("[a-z]+", max=3),
        "Count": Integer(1, 5),
        "Weight": Number(0),
        "Mode": Enumeration(("A", "B"), ("A",)),
        "On": Boolean(only=False),
        "Items": Sequence(Structure({"Key": Text(min=1)}, ("Key",)), min=1, max=2),
        "Environment": Dictionary(Text("[A-Z]+"), Text(max=2), max=1),
        "Later": Unsupported("do without."),
    },
    ("Name",),
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Value null at 'name' failed to satisfy constraint: Member must not be null"),
        (
            {"Name": "ABC"},
            (
                "Value 'ABC' at 'name' failed to satisfy constraint: Member must satisfy regular "
                "expression pattern: [a-z]+"
            ),
        ),
        (
            {"Name": "abcd"},
            (
                "Value 'abcd' at 'name' failed to satisfy constraint: Member must have length less "
                "than or equal to 3"
            ),
        ),
        (
            {"Name": "a", "Count": 0},
            (
                "Value '0' at 'count' failed to satisfy constraint: Member must have value greater "
                "than or equal to 1"
            ),
        ),
        (
            {"Name": "a", "Count": 6},
            (
                "Value '6' at 'count' failed to satisfy constraint: Member must have value "
                "less than or equal to 5"
            ),
        ),
        (
            {"Name": "a", "Mode": "C"},
            (
                "Value 'C' at 'mode' failed to satisfy constraint: Member must satisfy enum value "
                "set: [A, B]"
            ),
        ),
        ({"Name": "a", "Mode": "B"}, "'mode' = 'B' is not supported yet: use A, or leave it out"),
        ({"Name": "a", "On": True}, "'on' = true is not supported yet; leave it out"),
        (
            {"Name": "a", "Items": [{"Key": ""}]},
            (
                "Value '' at 'items.1.member.key' failed to satisfy constraint: Member must have "
                "length greater than or equal to 1"
            ),
        ),
        (
            {"Name": "a", "Items": []},
            (
                "Value '[]' at 'items' failed to satisfy constraint: Member must have length "
                "greater than or equal to 1"
            ),
        ),
        (
            {"Name": "a", "Environment": {"a": "b"}},
            (
                "Value 'a' at 'environment' failed to satisfy constraint: Member must satisfy "
                "regular expression pattern: [A-Z]+"
            ),
        ),
        ({"Name": "a", "Later": {"x": 1}}, "'later' is not supported yet: do without."),
        ({"Name": "a", "Other": 1}, "'other' is not a member that is known here"),
    ],
)
def test_one_error_is_told_in_awss_words(body: Mapping[str, object], message: str) -> None:
    """The path is written as AWS writes it."""
    with pytest.raises(InvalidRequest) as refused:
        check(SHAPE, body)
    assert refused.value.message == f"1 validation error detected: {message}"


def test_several_errors_are_counted_and_joined() -> None:
    """At most ten are told."""
    with pytest.raises(InvalidRequest, match=r"^2 validation errors detected: Value null.*; Value"):
        check(SHAPE, {"Count": 0})
    many = Structure({"Items": Sequence(Integer())})
    with pytest.raises(InvalidRequest, match="must be an integer"):
        check(many, {"Items": ["x"] * 50})
    texts = Structure({"Items": Sequence(Text(min=1))})
    with pytest.raises(InvalidRequest, match=r"^10 validation errors"):
        check(texts, {"Items": [""] * 50})


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"Name": 1},
        {"Name": "a", "Count": "1"},
        {"Name": "a", "Count": True},
        {"Name": "a", "Weight": "1"},
        {"Name": "a", "On": 0},
        {"Name": "a", "Mode": 1},
        {"Name": "a", "Items": {}},
        {"Name": "a", "Environment": []},
        {"Name": "a", "Items": ["x"]},
    ],
)
def test_a_wrong_type_is_a_serialization_exception(body: object) -> None:
    """boto3 checks types itself, so only other clients come here."""
    with pytest.raises(InvalidRequest) as refused:
        check(SHAPE, body)
    assert refused.value.aws_type == "SerializationException"  # type: ignore[attr-defined]


def test_null_and_empty_members_count_as_absent() -> None:
    """Also where the member is not supported."""
    body: dict[str, object] = {"Name": "a", "Count": None, "Later": {}, "Environment": {}}

    assert check(SHAPE, body) == {"Name": "a"}


def test_a_long_name_is_not_matched_against_its_pattern(door: Door) -> None:
    """AWS's pattern for a model's name takes quadratic time: half a megabyte would take minutes."""
    message = door.refusal(
        "CreateModel", ModelName="a-" * 250_000 + "!", PrimaryContainer=container()
    )[1]

    assert message.endswith("Member must have length less than or equal to 63")
    assert len(message) < 500


@pytest.mark.skipif(botocore.__version__ != "1.44.5", reason="shapes were read from 1.44.5")
def test_every_operation_knows_every_member_that_awss_model_has() -> None:
    """Each is decided on; one that a later AWS adds is refused as unknown, never ignored."""
    wrong = [
        problem
        for name, operation in OPERATIONS.items()
        for problem in differences(operation.shape, model().operation_model(name).input_shape, name)
    ]
    assert wrong == []


def differences(ours: Shape, theirs: botocore.model.Shape | None, path: str) -> Iterator[str]:
    """Yield where a shape at any depth is not that of AWS's model: members, types, words."""
    assert theirs is not None, path
    if isinstance(ours, Unsupported):
        return
    if theirs.type_name not in TYPES[type(ours)]:
        yield f"{path} is {theirs.type_name}, not {ours}"
    elif isinstance(ours, Structure):
        for name in set(ours.members) ^ set(theirs.members):
            yield f"{path}.{name} is known to one of the two alone"
        for name in set(theirs.required_members) - set(ours.required):
            yield f"{path}.{name} is required"
        for name in set(ours.members) & set(theirs.members):
            yield from differences(ours.members[name], theirs.members[name], f"{path}.{name}")
    elif isinstance(ours, Sequence):
        yield from differences(ours.member, theirs.member, f"{path}[]")
    elif isinstance(ours, Dictionary):
        yield from differences(ours.value, theirs.value, f"{path}{{}}")
    elif isinstance(ours, Enumeration) and set(ours.values) != set(theirs.enum):
        yield f"{path} has the words {theirs.enum}"


def test_an_unknown_operation_is_named(door: Door) -> None:
    """With those that there are."""
    aws_type, message = door.refusal("CreateTrainingJob")
    assert aws_type == "UnknownOperationException"
    assert "SageMaker.CreateTrainingJob" in message
    assert "CreateEndpoint" in message


@pytest.mark.parametrize("target", ["", "Logs_20140328.GetLogEvents", "CreateModel"])
def test_another_target_is_no_operation_here(door: Door, target: str) -> None:
    """The server sends them elsewhere once there is an elsewhere."""
    response = TestClient(door.app, base_url=BASE_URL).post("/", headers={"X-Amz-Target": target})
    assert response.status_code == 400
    assert response.json()["__type"] == "UnknownOperationException"


@pytest.mark.parametrize(
    "body", [b"{", b'{"NameContains":"\xed\xa0\x80"}', b"[" * 100_000, b'{"a":' * 50_000]
)
def test_a_body_that_is_no_json_is_refused(door: Door, body: bytes) -> None:
    """AWS calls it a SerializationException: also what is no UTF-8, or nested beyond measure."""
    response = TestClient(door.app, base_url=BASE_URL).post(
        "/", content=body, headers={"X-Amz-Target": "SageMaker.ListModels"}
    )
    assert response.status_code == 400
    assert response.json()["__type"] == "SerializationException"


def test_an_oversized_body_is_refused_before_it_is_read(door: Door) -> None:
    """One megabyte holds any request of the control plane."""
    response = TestClient(door.app, base_url=BASE_URL).post(
        "/", content=b" " * (1024 * 1024 + 1), headers={"X-Amz-Target": "SageMaker.ListModels"}
    )
    assert response.status_code == 400
    assert "over the limit of 1048576 bytes" in response.json()["message"]


def test_the_region_of_arns_is_that_of_the_signature(door: Door) -> None:
    """Names are the same in every region; there is one machine."""
    create_model(door)
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/sagemaker/aws4_request, "
        "SignedHeaders=host, Signature=0"
    )
    response = TestClient(door.app, base_url=BASE_URL).post(
        "/",
        json={"ModelName": "churn"},
        headers={"X-Amz-Target": "SageMaker.DescribeModel", "Authorization": authorization},
    )
    assert response.json()["ModelArn"] == "arn:aws:sagemaker:eu-west-1:123456789012:model/churn"


def test_tags_of_every_script_are_taken(door: Door) -> None:
    """AWS's pattern is letters, digits and separators of any script, and a few signs."""
    create_model(door, Tags=[{"Key": "équipe/日本", "Value": "a b_c:d=e@f"}])

    assert (
        "at 'tags.1.member.value'"
        in door.refusal(
            "CreateModel",
            ModelName="other",
            PrimaryContainer=container(),
            Tags=[{"Key": "a", "Value": "semi;colon"}],
        )[1]
    )


def test_a_tag_key_is_given_once(door: Door) -> None:
    """One of the two values would be lost; nothing is made before that is told."""
    twice = [{"Key": "team", "Value": "a"}, {"Key": "team", "Value": "b"}]
    words = "The tag key 'team' is given twice: give it once."
    told = door.refusal("CreateModel", ModelName="churn", PrimaryContainer=container(), Tags=twice)
    assert told == ("ValidationException", words)
    create_model(door)
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model/churn"
    assert door.refusal("AddTags", ResourceArn=arn, Tags=twice)[1] == words
    assert door.call("ListTags", ResourceArn=arn) == {"Tags": []}


def test_the_bounds_of_lists_are_kept(door: Door) -> None:
    """Ten variants, and a MaxResults of at most a hundred."""
    create_model(door)
    variants = [variant(VariantName=f"v{i}") for i in range(11)]
    assert (
        "length less than or equal to 10"
        in door.refusal(
            "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=variants
        )[1]
    )
    assert "value less than or equal to 100" in door.refusal("ListModels", MaxResults=101)[1]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({}, "DescribeModel.ModelArn is required"),
        ({"Extra": 1}, "DescribeModel.Extra is unknown"),
        ({"Containers": []}, "DescribeModel.Containers is empty: []"),
        ({"VpcConfig": None}, "DescribeModel.VpcConfig is empty: None"),
        ({"ModelName": "a_b"}, "DescribeModel.ModelName = 'a_b' does not match"),
        ({"CreationTime": "now"}, "DescribeModel.CreationTime must be timestamp, not 'now'"),
        ({"InferenceExecutionConfig": {"Mode": "X"}}, "Mode = 'X' is not in"),
        ({"ExecutionRoleArn": "short"}, "DescribeModel.ExecutionRoleArn: 5 is under 20"),
    ],
)
def test_the_oracle_of_these_tests_sees_what_is_wrong(answer: object, problem: str) -> None:
    """It stands behind every response that ``Door.call`` returns."""
    assert any(problem in one for one in problems("DescribeModel", answer))
