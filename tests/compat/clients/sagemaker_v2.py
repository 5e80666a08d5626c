"""The SageMaker SDK, version 2: deploy, predict, update and delete, as its users write it.

Run by an interpreter that has ``sagemaker``; the environment says where AWS is
(``AWS_ENDPOINT_URL``, keys, region, ``SAGEMAKER_USER_CONFIG_OVERRIDE``).
"""

import boto3
import sagemaker
from model_archive import archive
from sagemaker.deserializers import JSONDeserializer
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import JSONSerializer
from sagemaker.serverless import ServerlessInferenceConfig

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu-py310"
NAME = "sdk-v2"


def model_at(session: sagemaker.Session, weight: float) -> str:
    """Upload a model; return where it is."""
    key = f"models/{weight}/model.tar.gz"
    session.upload_string_as_file_body("", session.default_bucket(), f"models/{weight}/marker")
    boto3.client("s3").put_object(Bucket=session.default_bucket(), Key=key, Body=archive(weight))
    return f"s3://{session.default_bucket()}/{key}"


def main() -> None:
    """Go through an endpoint's life."""
    session = sagemaker.Session()
    model = Model(
        image_uri=IMAGE,
        model_data=model_at(session, 2.0),
        role=ROLE,
        sagemaker_session=session,
        predictor_cls=Predictor,
    )
    predictor = model.deploy(
        endpoint_name=NAME,
        serverless_inference_config=ServerlessInferenceConfig(
            memory_size_in_mb=2048, max_concurrency=2
        ),
        serializer=JSONSerializer(),
        deserializer=JSONDeserializer(),
        wait=False,
    )
    assert predictor.predict({"values": [1, 2]}) == {"products": [2.0, 4.0]}

    second = Model(
        image_uri=IMAGE, model_data=model_at(session, 3.0), role=ROLE, sagemaker_session=session
    )
    second.create(serverless_inference_config=None, instance_type="ml.m5.large")
    predictor.update_endpoint(
        model_name=second.name, initial_instance_count=1, instance_type="ml.m5.large", wait=False
    )
    session.wait_for_endpoint(NAME, poll=1)
    assert predictor.predict({"values": [1, 2]}) == {"products": [3.0, 6.0]}

    predictor.delete_model()
    predictor.delete_endpoint()
    assert session.sagemaker_client.list_endpoints()["Endpoints"] == []
    print("sagemaker", sagemaker.__version__, "passed")


main()
