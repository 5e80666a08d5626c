"""The SageMaker SDK, version 2: deploy, predict, update and delete, as its users write it.

Run by an interpreter that has ``sagemaker``; the environment says where AWS is
(``AWS_ENDPOINT_URL``, keys, region, ``SAGEMAKER_USER_CONFIG_OVERRIDE``).
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
import sagemaker
from model_archive import HANDLER, archive
from sagemaker.compute_resource_requirements.resource_requirements import ResourceRequirements
from sagemaker.deserializers import JSONDeserializer
from sagemaker.enums import EndpointType
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.pytorch import PyTorchModel
from sagemaker.serializers import JSONSerializer
from sagemaker.serverless import ServerlessInferenceConfig
from sagemaker.sklearn import SKLearnModel

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu-py310"
NAME = "sdk-v2"


def model_at(session: sagemaker.Session, weight: float) -> str:
    """Upload a model; return where it is."""
    key = f"models/{weight}/model.tar.gz"
    session.upload_string_as_file_body("", session.default_bucket(), f"models/{weight}/marker")
    boto3.client("s3").put_object(Bucket=session.default_bucket(), Key=key, Body=archive(weight))
    return f"s3://{session.default_bucket()}/{key}"


def with_code(session: sagemaker.Session, directory: Path) -> None:
    """Deploy a framework's model with code from here: in the model's archive, and beside it.

    The first is repacked by the SDK; the second names its code in SAGEMAKER_SUBMIT_DIRECTORY.
    """
    (directory / "serve.py").write_text(HANDLER)
    common = {"role": "SageMakerRole", "entry_point": str(directory / "serve.py")}
    for name, model in (
        ("torch", partial(PyTorchModel, framework_version="2.1", py_version="py310")),
        ("sklearn", partial(SKLearnModel, framework_version="1.2-1")),
    ):
        built = model(model_data=model_at(session, 5.0), sagemaker_session=session, **common)
        predictor = built.deploy(
            endpoint_name=name,
            serverless_inference_config=ServerlessInferenceConfig(),
            serializer=JSONSerializer(),
            deserializer=JSONDeserializer(),
            wait=False,
        )
        assert predictor.predict({"values": [1]}) == {"products": [5.0]}, name
        predictor.delete_model()
        predictor.delete_endpoint()


def with_components(session: sagemaker.Session) -> None:
    """Deploy two models as inference components of one endpoint; scale one; delete all."""
    predictors = []
    for name, weight in (("six", 6.0), ("seven", 7.0)):
        model = Model(
            image_uri=IMAGE,
            model_data=model_at(session, weight),
            role=ROLE,
            sagemaker_session=session,
            predictor_cls=Predictor,
        )
        predictor = model.deploy(
            endpoint_name="pool",
            endpoint_type=EndpointType.INFERENCE_COMPONENT_BASED,
            inference_component_name=name,
            instance_type="ml.m5.large",
            initial_instance_count=1,
            resources=ResourceRequirements(
                requests={"memory": 512, "copies": 1}, limits={"memory": 1024}
            ),
            serializer=JSONSerializer(),
            deserializer=JSONDeserializer(),
            wait=False,
        )
        assert predictor.predict({"values": [1, 2]}) == {"products": [weight, 2 * weight]}
        predictors.append(predictor)
    six, seven = predictors
    related, _ = six.list_related_models()
    assert sorted(one["InferenceComponentName"] for one in related) == ["seven", "six"]
    six.update_predictor(
        resources=ResourceRequirements(
            requests={"memory": 256, "copies": 2}, limits={"memory": 512}
        )
    )
    assert six.predict({"values": [1]}) == {"products": [6.0]}
    assert seven.predict({"values": [1]}) == {"products": [7.0]}
    for predictor in predictors:
        predictor.delete_model()
        predictor.delete_predictor()
    session.delete_endpoint("pool")
    session.delete_endpoint_config("pool")


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
    with TemporaryDirectory() as directory:
        with_code(session, Path(directory))
    with_components(session)
    print("sagemaker", sagemaker.__version__, "passed")


main()
