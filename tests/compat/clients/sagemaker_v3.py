"""The SageMaker SDK, version 3: build, deploy, invoke, update and delete.

Run by an interpreter that has ``sagemaker`` 3; the environment says where AWS is. Every answer is
read by the SDK's own pydantic models, which refuse what they do not know.
"""

import json

import boto3
from model_archive import archive
from sagemaker.core.inference_config import ServerlessInferenceConfig
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.serve import ModelBuilder

BUCKET = "sdk-bucket"
ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu-py310"
NAME = "sdk-v3"


def built(name: str, weight: float) -> ModelBuilder:
    """Upload a model and make a SageMaker model of it."""
    key = f"models/{name}/model.tar.gz"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=archive(weight))
    builder = ModelBuilder(
        image_uri=IMAGE,
        s3_model_data_url=f"s3://{BUCKET}/{key}",
        role_arn=ROLE,
        env_vars={"A": "1"},
    )
    builder.build(model_name=name)
    return builder


def products(endpoint: Endpoint) -> list[float]:
    """Invoke the endpoint."""
    body = json.dumps({"values": [1, 2]})
    answer = endpoint.invoke(body=body, content_type="application/json").body.read()
    found: list[float] = json.loads(answer)["products"]
    return found


def main() -> None:
    """Go through an endpoint's life."""
    endpoint = built("v3-first", 2.0).deploy(
        endpoint_name=NAME,
        inference_config=ServerlessInferenceConfig(memory_size_in_mb=2048, max_concurrency=2),
    )
    assert products(endpoint) == [2.0, 4.0]

    built("v3-second", 3.0)
    described = EndpointConfig.get(endpoint_config_name=endpoint.endpoint_config_name)
    variant = described.production_variants[0]
    variant.model_name = "v3-second"
    boto3.client("sagemaker").create_endpoint_config(
        EndpointConfigName="v3-second",
        ProductionVariants=[
            {
                "VariantName": variant.variant_name,
                "ModelName": "v3-second",
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2},
            }
        ],
    )
    endpoint.endpoint_config_name = "v3-second"
    endpoint.update()
    endpoint.wait_for_status("InService")
    assert products(endpoint) == [3.0, 6.0]

    assert [one.endpoint_name for one in Endpoint.get_all()] == [NAME]
    endpoint.delete()
    for name in ("v3-first", "v3-second"):
        Model.get(model_name=name).delete()
    assert list(Endpoint.get_all()) == []
    print("sagemaker 3 passed")


main()
