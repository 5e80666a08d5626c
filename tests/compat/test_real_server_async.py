"""Unmodified boto3 against a real server: asynchronous invocations, their answers and notices."""

import hashlib
import hmac
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3_rig import refusal
from botocore.config import Config
from botocore.exceptions import ClientError
from service_model import problems
from test_real_server_boto3 import archive

from coldspark.sdk.transport import Transport

from real_server import COLDSPARK, Server, until  # isort: skip  (conftest makes it importable)

HANDLER = b"""
def model_fn(model_dir):
    return 2

def input_fn(data, content_type):
    return data

def predict_fn(data, model):
    if len(data) == 6:
        raise ValueError("no such thing")
    return data * model

def output_fn(prediction, accept):
    return prediction, "application/x-doubled"
"""

pytestmark = pytest.mark.process


class Webhook(BaseHTTPRequestHandler):
    """Keeps what it is told."""

    told: list[tuple[dict[str, str], bytes]] = []

    def do_POST(self) -> None:
        """Take a notice."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.told.append(({name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    """A webhook on this machine."""
    Webhook.told = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/told"
    server.shutdown()
    thread.join()


def messages() -> list[dict[str, Any]]:
    """Return what the webhook was told, as SNS's subscribers read it."""
    bodies = [json.loads(body) for _, body in list(Webhook.told)]
    assert all(body["Type"] == "Notification" for body in bodies)
    return [json.loads(body["Message"]) for body in bodies]


class Aws:
    """boto3's clients on a server."""

    def __init__(self, server: Server) -> None:
        options: Any = {
            "endpoint_url": server.url,
            "region_name": "us-east-1",
            "aws_access_key_id": "any",
            "aws_secret_access_key": "any",
            "config": Config(retries={"mode": "standard", "total_max_attempts": 1}),
        }
        self.sagemaker = boto3.client("sagemaker", **options)
        self.runtime = boto3.client("sagemaker-runtime", **options)
        self.s3 = boto3.client("s3", **options)
        self.cloudwatch = boto3.client("cloudwatch", **options)

    def create(self, name: str, **output: object) -> None:
        """Make an asynchronous endpoint of one name for all."""
        self.s3.create_bucket(Bucket=name)
        self.s3.put_object(
            Bucket=name, Key="model.tar.gz", Body=archive(code__inference_dot_py=HANDLER)
        )
        self.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": "coldspark/python",
                "ModelDataUrl": f"s3://{name}/model.tar.gz",
            },
        )
        self.config(name, f"s3://{name}/out", **output)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def config(self, name: str, output_path: str | None, **output: object) -> None:
        """Make an asynchronous endpoint config."""
        where = {} if output_path is None else {"S3OutputPath": output_path}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": name,
                    "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2},
                }
            ],
            AsyncInferenceConfig={"OutputConfig": where | output},
        )

    def object(self, url: str) -> tuple[str, bytes]:
        """Wait for an object as the SageMaker SDK does; return content type and bytes."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        waiter = self.s3.get_waiter("object_exists")
        waiter.wait(Bucket=bucket, Key=key, WaiterConfig={"Delay": 1, "MaxAttempts": 15})
        found = self.s3.get_object(Bucket=bucket, Key=key)
        return found["ContentType"], found["Body"].read()


def test_asynchronous_invocations_end_where_they_were_asked_to(
    real_server: Server, hook: str
) -> None:
    """From an object to an object, from an inline body, from an error; each is told of."""
    aws, name = Aws(real_server), "async-one"
    aws.create(
        name,
        S3FailurePath=f"s3://{name}/failed",
        NotificationConfig={
            "SuccessTopic": hook,
            "ErrorTopic": hook,
            "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
        },
    )
    until(lambda: len(Webhook.told) == 2 or bool(Webhook.told), "a test notification came")
    assert messages()[0]["eventName"] == "TestNotification"
    described = aws.sagemaker.describe_endpoint(EndpointName=name)
    assert described["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"] == f"s3://{name}/out"
    _check_descriptions(real_server, name)
    Webhook.told.clear()

    aws.s3.put_object(Bucket=name, Key="in/1", Body=b"ab")
    taken = aws.runtime.invoke_endpoint_async(
        EndpointName=name,
        InputLocation=f"s3://{name}/in/1",
        ContentType="text/plain",
        InferenceId="mine",
        S3OutputPathExtension="day/1",
        Filename="answer.bin",
        RequestTTLSeconds=60,
        InvocationTimeoutSeconds=3_600,
    )
    assert taken["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert taken["InferenceId"] == "mine"
    assert taken["OutputLocation"] == f"s3://{name}/out/day/1/answer.bin"
    assert aws.object(taken["OutputLocation"]) == ("application/x-doubled", b"abab")

    inline = aws.runtime.invoke_endpoint_async(EndpointName=name, Body=b"xy")
    assert aws.object(inline["OutputLocation"])[1] == b"xyxy"
    broken = aws.runtime.invoke_endpoint_async(EndpointName=name, Body=b"broken")
    assert broken["FailureLocation"].startswith(f"s3://{name}/failed/day/1/") is False
    assert b"no such thing" in aws.object(broken["FailureLocation"])[1]

    until(lambda: len(Webhook.told) >= 3, "all three are told of")
    told = {message["inferenceId"]: message for message in messages()}
    assert told["mine"]["invocationStatus"] == "Completed"
    assert told["mine"]["requestParameters"]["inputLocation"] == f"s3://{name}/in/1"
    assert told["mine"]["responseParameters"]["outputLocation"] == taken["OutputLocation"]
    assert told["mine"]["responseParameters"]["responseBody"]["content"] == "YWJhYg=="
    failed = told[broken["InferenceId"]]
    assert failed["invocationStatus"] == "Failed"
    assert "no such thing" in failed["failureReason"]
    _check_signatures(real_server.data)
    aws.sagemaker.delete_endpoint(EndpointName=name)


def _check_descriptions(server: Server, name: str) -> None:
    """Hold what is described against AWS's own model, which boto3 does not do."""
    transport = Transport(server.url)
    for noun in ("Endpoint", "EndpointConfig"):
        reply = transport.exchange(
            "POST",
            "/",
            headers={"x-amz-target": f"SageMaker.Describe{noun}"},
            body=json.dumps({f"{noun}Name": name}).encode(),
        )
        described = json.loads(reply.read())
        assert "AsyncInferenceConfig" in described
        found = problems(f"Describe{noun}", described)
        # A webhook's URL stands where AWS has a topic's ARN.
        assert all("Topic" in problem for problem in found), found
    transport.close()


def _check_signatures(data: Path) -> None:
    """Verify as a receiver would, with the secret that the command line shows."""
    words = [COLDSPARK, "jobs", "signing-secret", "--data", str(data)]
    secret = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    for headers, body in Webhook.told:
        at, _, mac = headers["x-coldspark-signature"].partition(",v1=")
        signed = at.removeprefix("t=").encode() + b"." + body
        assert hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() == mac


def test_asynchronous_and_synchronous_endpoints_refuse_each_others_calls(
    real_server: Server,
) -> None:
    """And what could not be carried out is refused, with the member's name."""
    aws, name = Aws(real_server), "async-two"
    aws.create(name)
    for call, words in (
        (
            lambda: aws.runtime.invoke_endpoint(EndpointName=name, Body=b"x"),
            "takes jobs, not requests that are held open",
        ),
        (
            lambda: aws.runtime.invoke_endpoint_async(EndpointName=name),
            "Exactly one of InputLocation and Body",
        ),
        (
            lambda: aws.runtime.invoke_endpoint_async(
                EndpointName=name, Body=b"x", InputLocation="s3://a/b"
            ),
            "Exactly one of InputLocation and Body",
        ),
        (
            lambda: aws.runtime.invoke_endpoint_async(EndpointName=name, Body=b"x" * 128_001),
            "128000 bytes at most: put it into object storage and give its InputLocation.",
        ),
        (
            lambda: aws.runtime.invoke_endpoint_async(
                EndpointName=name, Body=b"x", InvocationTimeoutSeconds=3_601
            ),
            "lie between 1 and 3600",
        ),
        (
            lambda: aws.runtime.invoke_endpoint_async(EndpointName="nobody", Body=b"x"),
            "Endpoint nobody of account 123456789012 not found",
        ),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert refusal(caught.value)[:2] == (400, "ValidationError")
        assert words in refusal(caught.value)[2]
    for output, words in (
        ({"KmsKeyId": "key"}, "outputConfig.kmsKeyId' is not supported"),
        (
            {"NotificationConfig": {"ErrorTopic": "arn:aws:sns:us-east-1:123456789012:nobody"}},
            "[server.webhooks.topics] nobody",
        ),
        ({"NotificationConfig": {"ErrorTopic": "http://10.0.0.1/"}}, "allow_private"),
    ):
        with pytest.raises(ClientError) as caught:
            aws.config(f"{name}-bad", f"s3://{name}/out", **output)
        assert words in refusal(caught.value)[2]
    with pytest.raises(ClientError) as caught:
        aws.config(f"{name}-bad", None)
    assert "s3OutputPath" in refusal(caught.value)[2]
    aws.sagemaker.delete_endpoint(EndpointName=name)


def test_an_alarm_tells_its_topic(real_server: Server, hook: str) -> None:
    """The webhook is told as a subscriber of SNS would be, and the history says that it was."""
    cloudwatch = Aws(real_server).cloudwatch
    cloudwatch.put_metric_alarm(
        AlarmName="too-many",
        Namespace="Own",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[hook],
    )
    cloudwatch.set_alarm_state(AlarmName="too-many", StateValue="ALARM", StateReason="a drill")

    until(lambda: bool(Webhook.told), "the webhook was told")
    (message,) = messages()
    assert (message["AlarmName"], message["NewStateValue"]) == ("too-many", "ALARM")
    assert message["NewStateReason"] == "a drill"
    headers, body = Webhook.told[0]
    assert json.loads(body)["TopicArn"] == hook
    assert headers["x-coldspark-signature"].startswith("t=")
    history = cloudwatch.describe_alarm_history(AlarmName="too-many", HistoryItemType="Action")
    assert "Successfully" in history["AlarmHistoryItems"][0]["HistorySummary"]
    cloudwatch.delete_alarms(AlarmNames=["too-many"])
