"""boto3 1.34: legacy retries, and CloudWatch in the query protocol.

Run by an interpreter that has it; the environment says where AWS is.
"""

import json

import boto3
from model_archive import archive

BUCKET = "old-bucket"
ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu-py310"
SERVERLESS = {"MemorySizeInMB": 2048, "MaxConcurrency": 2}


def main() -> None:
    """Go through an endpoint's life."""
    assert boto3.client("sts").get_caller_identity()["Account"] == "123456789012"
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="m/model.tar.gz", Body=archive(2.0))

    aws = boto3.client("sagemaker")
    aws.create_model(
        ModelName="m",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/m/model.tar.gz"},
    )
    variant = {"VariantName": "v", "ModelName": "m", "ServerlessConfig": SERVERLESS}
    aws.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    aws.create_endpoint(EndpointName="e", EndpointConfigName="c")
    aws.get_waiter("endpoint_in_service").wait(EndpointName="e")

    runtime = boto3.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(
        EndpointName="e", ContentType="application/json", Body=b'{"values": [1, 2]}'
    )
    assert json.loads(answer["Body"].read()) == {"products": [2.0, 4.0]}

    aws.delete_endpoint(EndpointName="e")
    aws.delete_endpoint_config(EndpointConfigName="c")
    aws.delete_model(ModelName="m")
    s3.delete_object(Bucket=BUCKET, Key="m/model.tar.gz")
    s3.delete_bucket(Bucket=BUCKET)
    print("boto3", boto3.__version__, "passed")


main()
