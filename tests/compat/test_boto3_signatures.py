"""Who calls, proved by unmodified boto3's own signatures, on both of SageMaker's services."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import botocore.auth
import pytest
from boto3_rig import WAYS, Aws, reached, refusal
from botocore.exceptions import ClientError

from coldspark.platform.ports import Key

from aws_requests import container, variant  # isort: skip  (boto3_rig makes it importable)

ADMIN = Key(id="CSKADMIN", name="admin", scopes=("admin",), created_ms=0)
CALLER = Key(id="CSKCALLER", name="caller", scopes=("invoke:churn",), created_ms=0)
BUILDER = Key(id="CSKBUILDER", name="builder", scopes=("deploy:churn",), created_ms=0)


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Aws]:
    """Return a door, reached in each way, with three keys and the endpoint ``churn``."""
    with reached(request.param, [ADMIN, CALLER, BUILDER]) as running:
        aws = running.client(key=BUILDER.id)
        aws.create_model(ModelName="churn", PrimaryContainer=container())
        aws.create_endpoint_config(EndpointConfigName="churn", ProductionVariants=[variant()])
        aws.create_endpoint(EndpointName="churn", EndpointConfigName="churn")
        yield running


def describe(server: Aws, **options: Any) -> Any:
    """Describe ``churn``."""
    return server.client(**options).describe_endpoint(EndpointName="churn")


def invoke(server: Aws, **options: Any) -> bytes:
    """Invoke ``churn`` with every kind of header and body that changes what is signed."""
    answer = server.client("sagemaker-runtime", **options).invoke_endpoint(
        EndpointName="churn",
        Body=bytes(range(256)),
        ContentType="application/x-npy",
        CustomAttributes="a=b;  c=d, e",
        TargetVariant="AllTraffic",
    )
    body: bytes = answer["Body"].read()
    return body


def both(server: Aws, **options: Any) -> list[tuple[int, str, str]]:
    """Call both services, which must refuse; return what each says."""
    told = []
    for call in (describe, invoke):
        with pytest.raises(ClientError) as caught:
            call(server, **options)
        told.append(refusal(caught.value))
    return told


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_valid_signature_is_believed(server: Aws, region: str) -> None:
    """In any region: the key id says who calls."""
    shown = describe(server, key=ADMIN.id, region=region)
    assert shown["EndpointArn"] == f"arn:aws:sagemaker:{region}:123456789012:endpoint/churn"
    assert invoke(server, key=ADMIN.id, region=region) == bytes(range(256))
    assert server.platform.invocations[-1].key == ADMIN.id


def test_a_wrong_secret_is_an_invalid_signature(server: Aws) -> None:
    """As AWS says it; nothing reaches the platform."""
    for status, code, message in both(server, key=ADMIN.id, secret="not the secret"):
        assert status in (400, 403)
        assert code == "InvalidSignatureException"
        assert message.startswith("The request signature we calculated does not match")
    assert server.platform.invocations == []


def test_an_unknown_key_is_an_unrecognized_client(server: Aws) -> None:
    """With the id, so that a typing error shows."""
    for _, code, message in both(server, key="CSKSTRANGER"):
        assert code == "UnrecognizedClientException"
        assert "no key 'CSKSTRANGER' exists" in message


@pytest.mark.parametrize(
    ("minutes", "words"), [(-6, "Signature expired"), (6, "Signature not yet current")]
)
def test_a_skewed_clock_is_told(
    server: Aws, monkeypatch: pytest.MonkeyPatch, minutes: int, words: str
) -> None:
    """The caller's clock is off by six minutes: one more than is taken."""
    true_now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda *args, **options: true_now(*args, **options) + timedelta(minutes=minutes),
    )

    for _, code, message in both(server, key=ADMIN.id):
        assert code == "InvalidSignatureException"
        assert message.startswith(words)


def test_a_key_may_do_what_its_scopes_say(server: Aws) -> None:
    """A caller cannot look, a builder cannot call, and neither may touch another name."""
    assert invoke(server, key=CALLER.id) == bytes(range(256))
    assert describe(server, key=BUILDER.id)["EndpointStatus"] == "InService"

    with pytest.raises(ClientError) as caught:
        describe(server, key=CALLER.id)
    assert refusal(caught.value)[1] == "AccessDeniedException"
    with pytest.raises(ClientError) as caught:
        invoke(server, key=BUILDER.id)
    assert refusal(caught.value)[:2] == (403, "AccessDeniedException")
    with pytest.raises(ClientError) as caught:
        server.client(key=BUILDER.id).describe_model(ModelName="other")
    assert refusal(caught.value)[1] == "AccessDeniedException"


def test_who_changes_a_component_needs_its_endpoints_scope(server: Aws) -> None:
    """A key for the name that the component has is not enough to change somebody's endpoint."""
    admin = server.client(key=ADMIN.id)
    variant = {"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    admin.create_endpoint_config(EndpointConfigName="pool", ProductionVariants=[variant])
    admin.create_endpoint(EndpointName="pool", EndpointConfigName="pool")
    made = admin.create_inference_component(
        InferenceComponentName="churn",
        EndpointName="pool",
        VariantName="v",
        Specification={
            "Container": {"Image": "coldspark/python", "ArtifactUrl": "s3://models/m.tar.gz"},
            "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128},
        },
        RuntimeConfig={"CopyCount": 1},
    )
    builder = server.client(key=BUILDER.id)
    for call, named in (
        (builder.delete_inference_component, {"InferenceComponentName": "churn"}),
        (builder.describe_inference_component, {"InferenceComponentName": "churn"}),
        (builder.list_tags, {"ResourceArn": made["InferenceComponentArn"]}),
    ):
        with pytest.raises(ClientError) as caught:
            call(**named)
        assert refusal(caught.value)[1] == "AccessDeniedException"
    admin.delete_inference_component(InferenceComponentName="churn")
