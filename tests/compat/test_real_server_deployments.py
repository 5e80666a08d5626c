"""Unmodified boto3 against real servers: endpoints change under load, and nobody fails."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import WaiterError
from test_real_server_boto3 import Aws, archive, weights_archive

from real_server import Server, until  # isort: skip  (conftest makes it importable)

BROKEN = """
def model_fn(model_dir):
    raise RuntimeError("these weights are cursed")

def predict_fn(data, model):
    return {}
"""
ALARMED = {"Alarms": [{"AlarmName": "errors"}]}
HALF = {"Type": "CAPACITY_PERCENT", "Value": 50}

pytestmark = pytest.mark.process


def blue_green(kind: str, wait_s: int, **routing: object) -> dict[str, Any]:
    """Return a DeploymentConfig."""
    traffic = {"Type": kind, "WaitIntervalInSeconds": wait_s, **routing}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic}}


class Callers:
    """Two threads that call one endpoint, each as fast as it is answered."""

    def __init__(self, server: Server, endpoint: str) -> None:
        self._server = server
        self._endpoint = endpoint
        self._is_over = threading.Event()
        self.answers: list[str] = []
        self.errors: list[BaseException] = []

    def call(self) -> None:
        """Call until it is over."""
        runtime = Aws(self._server).runtime
        while not self._is_over.is_set():
            try:
                reply = runtime.invoke_endpoint(
                    EndpointName=self._endpoint, ContentType="application/json", Body=b"[1]"
                )
                self.answers.append(json.loads(reply["Body"].read())["weights"])
            except Exception as error:  # noqa: BLE001
                # It is what the test counts.
                self.errors.append(error)
            self._is_over.wait(0.01)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call while the block runs."""
        threads = [threading.Thread(target=self.call) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join(30)

    def turns(self) -> list[str]:
        """Return the answers without repetitions."""
        return [one for one, _ in groupby(self.answers)]


class Deployments(Aws):
    """boto3 on a server, with models that say their name."""

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server)
        self._folder = folder
        self.watch = _client(server, "cloudwatch")

    def put_alarm(self, name: str) -> None:
        """Create an alarm that has nothing to say by itself."""
        self.watch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/SageMaker",
            MetricName="Invocation5XXErrors",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )

    def add(self, name: str, gpu: str, content: bytes | None = None, **config: object) -> None:
        """Create a model and a config of one name, with one replica that is always there."""
        path = self._folder / f"{name}.tar.gz"
        path.write_bytes(content or weights_archive(name))
        self.create_model(name, f"file://{path}")
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": gpu,
            "ServerlessConfig": {
                "MemorySizeInMB": 1024,
                "MaxConcurrency": 1,
                "ProvisionedConcurrency": 1,
            },
        }
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant], **config
        )

    def change(self, config: str, deployment: dict[str, Any]) -> None:
        """Begin an update."""
        self.sagemaker.update_endpoint(
            EndpointName="chat", EndpointConfigName=config, DeploymentConfig=deployment
        )

    def shown(self) -> dict[str, Any]:
        """Describe the endpoint."""
        answer: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName="chat")
        return answer

    def settled(self) -> dict[str, Any]:
        """Return what the endpoint is once no change is under way."""
        until(lambda: self.shown()["EndpointStatus"] == "InService", "the change is over")
        return self.shown()


def test_an_endpoint_changes_under_load_and_no_request_fails(tmp_path: Path) -> None:
    """Another GPU type step by step, a model that cannot start, another in the same place."""
    server = Server(tmp_path / "data", "--simulate", "T4:1,A10G:1")
    try:
        aws = Deployments(server, tmp_path)
        aws.add("one", "T4")
        aws.add("two", "A10G")
        aws.add("broken", "T4", archive(code__inference_dot_py=BROKEN.encode()))
        aws.add("three", "A10G")
        aws.create_endpoint("chat", "one")
        aws.ask("chat", [1])
        callers = Callers(server, "chat")
        with callers.calling():
            aws.change("two", blue_green("LINEAR", 1, LinearStepSize=HALF))
            status = aws.shown()
            assert status["EndpointStatus"] == "Updating"
            assert status["EndpointConfigName"] == "one"
            assert status["PendingDeploymentSummary"]["EndpointConfigName"] == "two"
            assert aws.settled()["EndpointConfigName"] == "two"
            until(lambda: callers.answers[-1] == "two", "the new model answers")
            both = callers.turns()
            assert set(both) == {"one", "two"}
            assert len(both) > 2, "there was no step at which both served"

            aws.change("broken", blue_green("CANARY", 1, CanarySize=HALF))
            after = aws.settled()
            assert after["EndpointConfigName"] == "two"
            assert "these weights are cursed" in after["FailureReason"]

            canary = blue_green("CANARY", 600, CanarySize=HALF)
            aws.put_alarm("errors")
            aws.change("one", canary | {"AutoRollbackConfiguration": ALARMED})
            until(lambda: "one" in callers.answers[-10:], "the canary gets its share")
            aws.watch.set_alarm_state(
                AlarmName="errors", StateValue="ALARM", StateReason="it is a drill"
            )
            after = aws.settled()
            assert after["EndpointConfigName"] == "two"
            assert "alarm errors: it is a drill" in after["FailureReason"]
            until(lambda: callers.answers[-1] == "two", "the former model answers alone")

            # There is one A10G: it goes from one model to the other while callers wait.
            aws.change("three", blue_green("ALL_AT_ONCE", 0))
            message = aws.shown()["ProductionVariants"][0]["VariantStatus"][0]["StatusMessage"]
            assert "in place" in message
            assert aws.settled()["EndpointConfigName"] == "three"
            until(lambda: callers.answers[-1] == "three", "the newest model answers")
        assert callers.errors == []
        assert callers.turns()[-2:] == ["two", "three"]
        gpus = {line["gpu"] for line in server.client.requests("chat")}
        assert gpus <= {"T4", "A10G"}
    finally:
        server.stop()


def test_an_archive_that_was_overwritten_is_served_after_an_update(tmp_path: Path) -> None:
    """Many write each training's model to one URL; where it is as it was, replicas stay."""
    server = Server(tmp_path / "data", "--simulate", "T4:2")
    try:
        aws = Deployments(server, tmp_path)
        s3 = _client(server, "s3")
        s3.create_bucket(Bucket="models")

        def write(words: str) -> None:
            (tmp_path / "one.tar.gz").write_bytes(weights_archive(words))
            s3.put_object(Bucket="models", Key="m.tar.gz", Body=weights_archive(words))

        aws.add("one", "T4", weights_archive("old"))
        write("old")
        aws.create_model("stored", "s3://models/m.tar.gz")
        aws.create_config("stored", "stored", "T4")
        for name in ("one", "stored"):
            aws.create_endpoint(name, name)
            assert aws.ask(name, [1])[0]["weights"] == "old"
            first = server.client.endpoint(name)["variants"][0]["revision"]
            aws.update_endpoint(name, name)
            assert server.client.endpoint(name)["variants"][0]["revision"] == first
        write("new")
        for name in ("one", "stored"):
            aws.update_endpoint(name, name)
            assert aws.ask(name, [1])[0]["weights"] == "new"
    finally:
        server.stop()


def test_who_waits_for_instances_hears_of_a_model_that_cannot_start(tmp_path: Path) -> None:
    """Creating, then Failed with the reason; an update to a good one is through when it serves."""
    server = Server(tmp_path / "data", "--simulate", "T4:1")
    try:
        aws = Deployments(server, tmp_path)
        aws.add("broken", "T4", archive(code__inference_dot_py=BROKEN.encode()))
        aws.add("good", "T4")
        for name in ("broken", "good"):
            variant = {
                "VariantName": "AllTraffic",
                "ModelName": name,
                "InstanceType": "T4",
                "InitialInstanceCount": 1,
            }
            aws.sagemaker.create_endpoint_config(
                EndpointConfigName=f"{name}-instances", ProductionVariants=[variant]
            )
        aws.sagemaker.create_endpoint(EndpointName="chat", EndpointConfigName="broken-instances")
        assert aws.shown()["EndpointStatus"] == "Creating"
        with pytest.raises(WaiterError, match="Failed"):
            aws.sagemaker.get_waiter("endpoint_in_service").wait(
                EndpointName="chat", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
            )
        assert "these weights are cursed" in aws.shown()["FailureReason"]
        aws.update_endpoint("chat", "good-instances")
        assert server.replicas("chat") == 1
        assert aws.ask("chat", [1])[0]["weights"] == "good"
    finally:
        server.stop()


def test_a_server_killed_in_a_change_comes_back_and_ends_it(tmp_path: Path) -> None:
    """It begins anew with the old model, and is through soon; shadow and capture go on."""
    server = Server(tmp_path / "data", "--simulate", "T4:1,A10G:1")
    try:
        aws = Deployments(server, tmp_path)
        aws.add("one", "T4")
        aws.add("two", "A10G")
        aws.create_endpoint("chat", "one")
        aws.change("two", blue_green("CANARY", 2, CanarySize=HALF))

        def is_shifting() -> bool:
            (variant,) = aws.shown()["ProductionVariants"]
            return variant["VariantStatus"][0]["Status"] == "ActivatingTraffic"

        until(is_shifting, "the new model gets its share")
        server.kill()
        server = Server(tmp_path / "data", "--simulate", "T4:1,A10G:1")
        aws = Deployments(server, tmp_path)
        assert aws.shown()["EndpointStatus"] == "Updating"
        assert aws.ask("chat", [1])[0]["weights"] == "one"
        assert aws.settled()["EndpointConfigName"] == "two"
        assert aws.ask("chat", [1])[0]["weights"] == "two"
    finally:
        server.stop()


def test_a_shadow_is_metered_and_what_is_captured_lies_in_a_bucket(tmp_path: Path) -> None:
    """Copies have lines of their own; the captured lines are there when the server has stopped."""
    data = tmp_path / "data"
    server = Server(data, "--simulate", "T4:2")
    try:
        aws = Deployments(server, tmp_path)
        _client(server, "s3").create_bucket(Bucket="captured")
        aws.add("dim", "T4")
        shadow = aws.sagemaker.describe_endpoint_config(EndpointConfigName="dim")
        (copy,) = shadow["ProductionVariants"]
        aws.add(
            "one",
            "T4",
            ShadowProductionVariants=[copy | {"VariantName": "Dim"}],
            DataCaptureConfig={
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": "s3://captured/here",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            },
        )
        aws.create_endpoint("chat", "one")
        for number in range(3):
            assert aws.ask("chat", [number])[0] == {"weights": "one", "sum": number}

        def copies() -> list[dict[str, Any]]:
            lines = server.client.requests("chat")
            return [line for line in lines if line["variant"] == "Dim"]

        until(lambda: len(copies()) >= 2, "copies are in the ledger")
        assert all(line["request"].endswith(".shadow") for line in copies())
        shown = aws.shown()
        assert [one["VariantName"] for one in shown["ShadowProductionVariants"]] == ["Dim"]
        assert shown["DataCaptureConfig"]["CaptureStatus"] == "Started"
    finally:
        server.stop()
    server = Server(data, "--simulate", "T4:2")
    try:
        s3 = _client(server, "s3")
        (found,) = s3.list_objects_v2(Bucket="captured", Prefix="here/chat/AllTraffic/")["Contents"]
        body = s3.get_object(Bucket="captured", Key=found["Key"])["Body"].read()
        lines = [json.loads(line) for line in body.splitlines()]
        sides = [line["captureData"] for line in lines]
        assert [one["endpointInput"]["data"] for one in sides] == ["[0]", "[1]", "[2]"]
        assert json.loads(sides[2]["endpointOutput"]["data"]) == {"weights": "one", "sum": 2}
    finally:
        server.stop()


def _client(server: Server, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )
