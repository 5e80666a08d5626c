"""Requests that the AWS door's tests start from: small and valid, to be changed by one member."""

from aws_door import Door

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
IMAGE = "coldspark/python"
ARCHIVE = "file:///models/churn.tar.gz"
SERVERLESS: dict[str, object] = {"MemorySizeInMB": 2048, "MaxConcurrency": 5}


def container(**members: object) -> dict[str, object]:
    """Return a container that runs a handler."""
    return {"Image": IMAGE, "ModelDataUrl": ARCHIVE, **members}


def variant(**members: object) -> dict[str, object]:
    """Return a serverless variant of the model ``churn``."""
    return {
        "VariantName": "AllTraffic",
        "ModelName": "churn",
        "ServerlessConfig": SERVERLESS,
        **members,
    }


def realtime(**members: object) -> dict[str, object]:
    """Return a real-time variant of the model ``churn``."""
    return {
        "VariantName": "AllTraffic",
        "ModelName": "churn",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 2,
        **members,
    }


def create_model(door: Door, name: str = "churn", **members: object) -> None:
    """Create a model."""
    request = {"PrimaryContainer": container(), "ExecutionRoleArn": ROLE} | members
    door.call("CreateModel", ModelName=name, **request)


def create_config(door: Door, name: str = "churn", *variants: dict[str, object]) -> None:
    """Create an endpoint config of these variants, or of one serverless variant."""
    sent = list(variants) or [variant()]
    door.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=sent)


def create_endpoint(door: Door, name: str = "churn", *variants: dict[str, object]) -> None:
    """Create a model, a config and an endpoint of one name."""
    create_model(door, "churn")
    create_config(door, name, *variants)
    door.call("CreateEndpoint", EndpointName=name, EndpointConfigName=name)


def arn(noun: str, name: str) -> str:
    """Return an ARN in the default region."""
    return f"arn:aws:sagemaker:us-east-1:123456789012:{noun}/{name}"
