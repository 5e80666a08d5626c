"""From a production variant and a model to the spec that runs: the whole mapping, as a table."""

import pytest

from coldspark.config import AWS_LIMITS, NO_LIMITS, AwsLimits, Image
from coldspark.doors.aws.sagemaker.images import ImageCatalogue
from coldspark.doors.aws.sagemaker.records import (
    AsyncConfig,
    AsyncOutput,
    Container,
    ProductionVariant,
    read,
)
from coldspark.doors.aws.sagemaker.variants import variant_definition
from coldspark.errors import InvalidRequest
from coldspark.platform import catalogue
from coldspark.spec.multi_model import MultiModel
from coldspark.spec.types import (
    GIB,
    OWN_REQUIREMENTS,
    Command,
    GpuRequest,
    HandlerProgram,
    Limits,
    Resources,
    ScalePolicy,
    Spec,
    revision_id,
)

SERVERLESS = {"MemorySizeInMB": 2048, "MaxConcurrency": 10}
ECR = "763104351884.dkr.ecr.us-east-1.amazonaws.com"


def spec(
    variant: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    limits: AwsLimits = NO_LIMITS,
    images: dict[str, Image] | None = None,
    asynchronous: AsyncConfig | None = None,
    **container: object,
) -> Spec:
    """Return what runs for a serverless variant with these members."""
    sent = {"VariantName": "v", "ModelName": "m", "ServerlessConfig": SERVERLESS} | (variant or {})
    model = {"Image": "coldspark/python", "ModelDataUrl": "/m.tar.gz"} | container
    definition = variant_definition(
        read(ProductionVariant, sent),
        read(Container, {**model, "Environment": environment or {}}),
        tags or {},
        catalogue.load(),
        limits,
        asynchronous,
        images=ImageCatalogue(images),
    )
    return definition.revision.spec


def realtime(**members: object) -> dict[str, object]:
    """Return the members of a real-time variant."""
    return {
        "ServerlessConfig": None,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 3,
        **members,
    }


def test_the_whole_spec_of_a_serverless_variant() -> None:
    """Nothing but what was asked for differs from the platform's defaults."""
    assert spec(environment={"B": "2", "A": "1"}) == Spec(
        handler=HandlerProgram(program="inference.py"),
        model="file:///m.tar.gz",
        environment=(("A", "1"), ("B", "2")),
        resources=Resources(memory_bytes=2 * GIB),
        scale=ScalePolicy(replicas_max=10),
    )


def test_the_same_request_gives_the_same_revision() -> None:
    """The id is that of the spec's canonical JSON, whatever the order of the environment."""
    container = {"Image": "coldspark/python", "ModelDataUrl": "s3://b/m.tar.gz"}
    variant = {"VariantName": "v", "ModelName": "m", "ServerlessConfig": SERVERLESS}
    revisions = {
        variant_definition(
            read(ProductionVariant, variant),
            read(Container, {**container, "Environment": environment}),
            {},
            catalogue.load(),
        ).revision.id
        for environment in ({"A": "1", "B": "2"}, {"B": "2", "A": "1"})
    }
    assert len(revisions) == 1
    assert revision_id(b"{}") not in revisions


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"ModelDataUrl": "s3://b/k/m.tar.gz"}, "s3://b/k/m.tar.gz"),
        ({"ModelDataUrl": "file:///a/m.tar.gz"}, "file:///a/m.tar.gz"),
        ({"ModelDataUrl": "/a/m"}, "file:///a/m"),
        ({"ModelDataUrl": f"artifact:{'0' * 64}"}, f"artifact:{'0' * 64}"),
        ({"ModelDataUrl": "https://b.s3.eu-west-1.amazonaws.com/k/m"}, "s3://b/k/m"),
        ({"ModelDataUrl": "https://b.s3.amazonaws.com/m"}, "s3://b/m"),
        ({"ModelDataUrl": "https://s3.us-east-1.amazonaws.com/b/k/m"}, "s3://b/k/m"),
        (
            {
                "ModelDataUrl": None,
                "ModelDataSource": {
                    "S3DataSource": {
                        "S3Uri": "s3://b/p",
                        "S3DataType": "S3Prefix",
                        "CompressionType": "None",
                    }
                },
            },
            "s3://b/p/",
        ),
        (
            {
                "ModelDataUrl": None,
                "ModelDataSource": {
                    "S3DataSource": {
                        "S3Uri": "s3://b/m.tar.gz",
                        "S3DataType": "S3Object",
                        "CompressionType": "Gzip",
                    }
                },
            },
            "s3://b/m.tar.gz",
        ),
    ],
)
def test_model_data_is_one_url(container: dict[str, object], expected: str) -> None:
    """A slash at the end says that it is a prefix of files."""
    assert spec(None, None, None, **container).model == expected


@pytest.mark.parametrize(
    ("data_type", "compression", "uri"),
    [
        ("S3Prefix", "Gzip", "s3://b/p/"),
        ("S3Object", "None", "s3://b/m.bin"),
        ("S3Object", "Gzip", "s3://b/p/"),
    ],
)
def test_other_kinds_of_model_data_are_refused(data_type: str, compression: str, uri: str) -> None:
    """The message says which two there are."""
    source = {"S3Uri": uri, "S3DataType": data_type, "CompressionType": compression}
    with pytest.raises(InvalidRequest, match="use S3Prefix with None"):
        spec(ModelDataUrl=None, ModelDataSource={"S3DataSource": source})


def test_a_handler_needs_model_data() -> None:
    """Its code lies in there."""
    with pytest.raises(InvalidRequest, match="needs ModelDataUrl"):
        spec(ModelDataUrl=None)


def test_the_environment_names_program_and_requirements() -> None:
    """SAGEMAKER_PROGRAM is AWS's; a path in a container as submit directory says nothing here."""
    runs = spec(
        environment={
            "SAGEMAKER_PROGRAM": "serve.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            "COLDSPARK_REQUIREMENTS": "numpy==2.1 pillow",
        }
    )
    assert runs.handler == HandlerProgram(program="serve.py", requirements=("numpy==2.1", "pillow"))
    assert [name for name, _ in runs.environment] == [
        "SAGEMAKER_PROGRAM",
        "SAGEMAKER_SUBMIT_DIRECTORY",
    ]
    lines = "numpy==2.1\n\n torch ; python_version > '3.9' \n"
    handler = spec(environment={"COLDSPARK_REQUIREMENTS": lines}).handler
    assert handler is not None
    assert handler.requirements == ("numpy==2.1", "torch ; python_version > '3.9'")


def test_a_command_is_split_as_a_shell_would() -> None:
    """Its paths are AWS's unless they are given."""
    image = "coldspark/command"
    runs = spec(environment={"COLDSPARK_COMMAND": "python -m srv --name 'a b'"}, Image=image)
    assert runs.command == Command(argv=("python", "-m", "srv", "--name", "a b"))
    assert runs.handler is None

    runs = spec(
        environment={
            "COLDSPARK_COMMAND": "srv",
            "COLDSPARK_PING_PATH": "/health",
            "COLDSPARK_INVOKE_PATH": "/predict",
        },
        Image=image,
    )
    assert runs.command == Command(argv=("srv",), ping_path="/health", invoke_path="/predict")
    assert runs.environment == ()
    with pytest.raises(InvalidRequest, match="cannot be split: No closing quotation"):
        spec(environment={"COLDSPARK_COMMAND": "a 'b"}, Image=image)
    with pytest.raises(InvalidRequest, match="must start with /"):
        spec(environment={"COLDSPARK_COMMAND": "a", "COLDSPARK_PING_PATH": "up"}, Image=image)


def test_the_knobs_reach_scale_limits_and_resources() -> None:
    """Documented extensions: AWS has no field for any of them."""
    runs = spec(
        environment={
            "COLDSPARK_IDLE_TIMEOUT": "0.5",
            "COLDSPARK_CONCURRENCY": "4",
            "COLDSPARK_REQUEST_TIMEOUT": "3600",
            "COLDSPARK_GPU_MEMORY": "15GB",
        }
    )
    assert runs.scale == ScalePolicy(replicas_max=3, concurrency=4, idle_timeout_s=0.5)
    assert runs.limits == Limits(request_timeout_s=3600)
    assert runs.resources.gpu_memory_bytes == 15 * 10**9


def test_batching_reaches_the_scale_policy() -> None:
    """Seconds, as everywhere on this door; the slots follow, and so the replicas."""
    runs = spec(environment={"COLDSPARK_BATCH_SIZE": "8", "COLDSPARK_BATCH_WAIT": "0.01"})
    assert runs.scale == ScalePolicy(
        replicas_max=1, concurrency=16, batch_size_max=8, batch_wait_s=0.01
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("15GB", 15 * 10**9), ("1.5 GiB", 1.5 * GIB), ("512mb", 512 * 10**6)]
)
def test_memory_is_read_in_both_kinds_of_units(text: str, expected: float) -> None:
    """GB is ten to the ninth, GiB two to the thirtieth."""
    memory_bytes = spec(environment={"COLDSPARK_GPU_MEMORY": text}).resources.gpu_memory_bytes
    assert memory_bytes == expected


@pytest.mark.parametrize(
    ("config", "concurrency", "expected"),
    [
        ({"MaxConcurrency": 10}, None, (0, 10)),
        ({"MaxConcurrency": 10, "ProvisionedConcurrency": 3}, None, (3, 10)),
        ({"MaxConcurrency": 10, "ProvisionedConcurrency": 3}, "4", (1, 3)),
        ({"MaxConcurrency": 1}, "8", (0, 1)),
    ],
)
def test_concurrency_becomes_replicas(
    config: dict[str, int], concurrency: str | None, expected: tuple[int, int]
) -> None:
    """Divided by the slots of one replica, and rounded up."""
    environment = {} if concurrency is None else {"COLDSPARK_CONCURRENCY": concurrency}
    runs = spec({"ServerlessConfig": {"MemorySizeInMB": 1024, **config}}, environment)
    assert (runs.scale.replicas_min, runs.scale.replicas_max) == expected


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (None, (3, 3)),
        ({"Status": "DISABLED", "MinInstanceCount": 0}, (3, 3)),
        ({"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 9}, (0, 9)),
        ({"Status": "ENABLED", "MaxInstanceCount": 9}, (3, 9)),
        ({"Status": "ENABLED", "MinInstanceCount": 1}, (1, 3)),
    ],
)
def test_instance_counts_become_replicas(
    scaling: dict[str, object] | None, expected: tuple[int, int]
) -> None:
    """A real-time variant stands still unless its scaling is managed."""
    runs = spec(realtime(ManagedInstanceScaling=scaling))
    assert (runs.scale.replicas_min, runs.scale.replicas_max) == expected


def test_a_real_time_variant_has_what_its_instance_has() -> None:
    """ml.m5.large is 2 vCPU and 8 GiB; a GPU's short name gives what suits that GPU."""
    assert spec(realtime()).resources == Resources(memory_bytes=8 * GIB, vcpus=2)
    assert spec(realtime(InstanceType="A10G:2")).resources == Resources(
        gpus=(GpuRequest(type="A10G", count=2),), memory_bytes=12 * GIB, vcpus=8
    )


def test_a_serverless_variant_has_the_memory_that_it_asks_for() -> None:
    """Also next to an instance type, which then says the GPU and the vCPUs."""
    assert spec({"InstanceType": "ml.g5.xlarge"}).resources == Resources(
        gpus=(GpuRequest(type="A10G"),), memory_bytes=2 * GIB, vcpus=4
    )


@pytest.mark.parametrize(
    ("variant", "environment", "tags", "expected"),
    [
        ({}, {}, {}, []),
        ({"InstanceType": "ml.g4dn.xlarge"}, {}, {}, ["T4"]),
        ({"InstanceType": "ml.g5.12xlarge"}, {}, {}, ["A10G:4"]),
        ({"InstanceType": "ml.p4d.24xlarge"}, {}, {}, ["A100:8"]),
        ({"InstanceType": "T4"}, {}, {}, ["T4"]),
        ({"InstanceType": "A100:2"}, {}, {}, ["A100:2"]),
        ({"InstanceType": "ml.c5.large"}, {}, {}, []),
        ({"AcceleratorType": "nvidia-t4"}, {}, {}, ["T4"]),
        ({}, {"COLDSPARK_GPU": "L4,a10g"}, {}, ["L4", "A10G"]),
        ({}, {"COLDSPARK_GPU": "A100/0.5"}, {}, ["A100/0.5"]),
        ({}, {"COLDSPARK_GPU": "mig-3g.40gb"}, {}, ["MIG-3g.40gb"]),
        ({}, {}, {"endpoint config": "T4"}, ["T4"]),
        ({}, {"COLDSPARK_GPU": "T4"}, {"endpoint": "T4", "model": "tesla-t4"}, ["T4"]),
    ],
)
def test_a_gpu_is_named_in_any_of_four_places(
    variant: dict[str, object], environment: dict[str, str], tags: dict[str, str], expected: object
) -> None:
    """Short names, instance types, fractions, alternatives and slices."""
    assert [str(gpu) for gpu in spec(variant, environment, tags).resources.gpus] == expected


@pytest.mark.parametrize(
    ("variant", "environment", "tags", "words"),
    [
        (
            {"InstanceType": "ml.c5.large"},
            {"COLDSPARK_GPU": "T4"},
            {},
            "InstanceType 'ml.c5.large' asks for no GPU but environment variable COLDSPARK_GPU",
        ),
        ({}, {"COLDSPARK_GPU": "T4"}, {"model": "L4"}, "tag coldspark:gpu of the model 'L4'"),
        ({}, {}, {"endpoint": "T4", "model": "L4"}, "of the endpoint 'T4' asks for T4 but tag"),
        ({}, {"COLDSPARK_GPU": "T5"}, {}, "COLDSPARK_GPU 'T5' names no GPU: gpu type 'T5' is not"),
        ({}, {"COLDSPARK_GPU": "A100:2/0.5"}, {}, "a fraction of 2 devices is not offered"),
    ],
)
def test_two_gpus_or_none_that_exists_are_refused(
    variant: dict[str, object], environment: dict[str, str], tags: dict[str, str], words: str
) -> None:
    """Both places are named, or the types that look alike."""
    with pytest.raises(InvalidRequest) as refused:
        spec(variant, environment, tags)
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("download", "health", "expected"),
    [(None, None, 600), (1200, 900, 2100), (1200, None, 1500), (None, 60, 360)],
)
def test_the_two_start_timeouts_are_one(
    download: int | None, health: int | None, expected: float
) -> None:
    """Where only one is given, the other is half of the default."""
    runs = spec(
        {
            "ModelDataDownloadTimeoutInSeconds": download,
            "ContainerStartupHealthCheckTimeoutInSeconds": health,
        }
    )
    assert runs.limits.start_timeout_s == expected


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("coldspark/python", HandlerProgram),
        ("coldspark/python@sha256:abc", HandlerProgram),
        (f"{ECR}/pytorch-inference:2.1-cpu-py310", HandlerProgram),
        (f"{ECR}/tensorflow-inference:2.13-gpu", HandlerProgram),
        (f"{ECR}.cn/huggingface-pytorch-inference:1", HandlerProgram),
    ],
)
def test_images_that_run_as_a_handler(image: str, kind: type) -> None:
    """The CPU and GPU variants of an image are the same here."""
    assert isinstance(spec(Image=image).runtime, kind)


@pytest.mark.parametrize(
    "image",
    [
        "coldspark/pythonx",
        "evil/coldspark/python",
        f"{ECR}/djl-inference:0.27",
        f"{ECR}/huggingface-pytorch-tgi-inference:1",
        "nginx:latest",
        f"evil.com/{ECR}/pytorch-inference:1",
        f"{ECR}/pytorch-inference-evil:1",
    ],
)
def test_images_that_do_not_run(image: str) -> None:
    """Near names are not taken for the real ones."""
    with pytest.raises(InvalidRequest, match=r"is not run here.*\[server.images\]"):
        spec(Image=image)


def test_the_servers_own_images_come_first() -> None:
    """A handler or a command runs for a pattern; what an image brings is installed beside.

    The code's own requirements.txt still counts, as it does in AWS's images.
    """
    images = {
        "*/vllm*": Image(command="vllm serve 'a b'", ping_path="/health", requirements=("vllm",)),
        f"{ECR}/pytorch-inference:2.*": Image(requirements=("torch==2.5",)),
        "team/plain": Image(handler="serve.py"),
    }
    runs = spec(images=images, Image=f"{ECR}/vllm:0.6").command
    assert runs is not None
    assert (runs.argv, runs.ping_path) == (("vllm", "serve", "a b"), "/health")
    assert runs.requirements == ("vllm", OWN_REQUIREMENTS)

    mapped = spec(images=images, Image=f"{ECR}/pytorch-inference:2.1-cpu-py310")
    assert mapped.handler == HandlerProgram(requirements=("torch==2.5", OWN_REQUIREMENTS))
    named = {"COLDSPARK_REQUIREMENTS": "numpy", "SAGEMAKER_PROGRAM": "own.py"}
    assert spec(images=images, environment=named, Image="team/plain").handler == HandlerProgram(
        program="own.py", requirements=("numpy",)
    )
    assert spec(images=images, Image="team/plain").handler == HandlerProgram(program="serve.py")
    with pytest.raises(InvalidRequest, match="COLDSPARK_COMMAND needs the image"):
        spec(images=images, environment={"COLDSPARK_COMMAND": "a"}, Image="team/plain")


def test_code_may_lie_in_an_archive_of_its_own() -> None:
    """As SDK v2 does it for scikit-learn; a path inside the container means ``code/``."""
    at = {"SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/sourcedir.tar.gz"}
    assert spec(environment=at).code == "s3://b/sourcedir.tar.gz"
    assert spec(environment=at).sources == {"file:///m.tar.gz", "s3://b/sourcedir.tar.gz"}
    inside = {"SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    assert spec(environment=inside).code is None
    assert spec(environment=inside).sources == {"file:///m.tar.gz"}


def test_a_bound_of_the_platform_is_told_as_a_validation_error() -> None:
    """Such as an idle timeout of more than a week."""
    with pytest.raises(InvalidRequest, match=r"Variant 'v' is not valid: idle_timeout_s"):
        spec(environment={"COLDSPARK_IDLE_TIMEOUT": "1e9"})


def test_as_strict_as_aws_bodies_and_time_are_bounded() -> None:
    """4 MB serverless, 6 MB real-time, a minute; a model may ask for less, and not for more."""
    serverless = spec(limits=AWS_LIMITS).limits
    assert (serverless.body_bytes_max, serverless.request_timeout_s) == (4_194_304, 60.0)
    assert spec(realtime(), limits=AWS_LIMITS).limits.body_bytes_max == 6_291_456
    less = {"COLDSPARK_BODY_LIMIT": "1MiB", "COLDSPARK_REQUEST_TIMEOUT": "5"}
    asked = spec(environment=less, limits=AWS_LIMITS).limits
    assert (asked.body_bytes_max, asked.request_timeout_s) == (1_048_576, 5.0)
    for name, value, limit in (
        ("COLDSPARK_BODY_LIMIT", "5MiB", "4194304"),
        ("COLDSPARK_REQUEST_TIMEOUT", "61", "60"),
    ):
        with pytest.raises(InvalidRequest, match=f"limit is {limit}.*InvokeEndpointAsync"):
            spec(environment={name: value}, limits=AWS_LIMITS)
    assert spec(environment={"COLDSPARK_BODY_LIMIT": "100MB"}).limits.body_bytes_max == 100_000_000
    assert spec(limits=AwsLimits(concurrency_max=10)).limits == Limits()


def test_as_strict_as_aws_jobs_are_not_bounded_as_requests_are() -> None:
    """AWS takes an input of 1 GB and an hour there: so does a strict server, and any other."""
    jobs = AsyncConfig(output_config=AsyncOutput(s3_output_path="s3://b/out"))
    for limits in (AWS_LIMITS, NO_LIMITS):
        for variant in (None, realtime()):
            found = spec(variant, limits=limits, asynchronous=jobs).limits
            assert (found.body_bytes_max, found.request_timeout_s) == (GIB, 3_600.0)
    more = {"COLDSPARK_BODY_LIMIT": "2GiB", "COLDSPARK_REQUEST_TIMEOUT": "7200"}
    asked = spec(environment=more, limits=AWS_LIMITS, asynchronous=jobs).limits
    assert (asked.body_bytes_max, asked.request_timeout_s) == (2 * GIB, 7_200.0)


def test_as_strict_as_aws_memory_and_concurrency_are_bounded_in_its_words() -> None:
    """Off, any larger multiple of 1024 is taken, and up to 10,000 at a time."""
    large = {"ServerlessConfig": {"MemorySizeInMB": 7168, "MaxConcurrency": 10}}
    many = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 201}}
    assert spec(large).resources.memory_bytes == 7 * GIB
    assert spec(many).scale.replicas_max == 201
    with pytest.raises(InvalidRequest) as caught:
        spec(large, limits=AWS_LIMITS)
    assert caught.value.message == (
        "1 validation error detected: Value '7168' at 'MemorySizeInMB' failed to satisfy "
        "constraint: Member must satisfy enum value set: [1024, 2048, 3072, 4096, 5120, 6144]"
    )
    with pytest.raises(InvalidRequest) as caught:
        spec(many, limits=AWS_LIMITS)
    assert caught.value.message == (
        "1 validation error detected: Value '201' at 'MaxConcurrency' failed to satisfy "
        "constraint: Member must have value less than or equal to 200"
    )


def test_many_models_are_a_prefix_and_one_program() -> None:
    """Nothing is fetched at a start but the program; a batch is of one model."""
    many = {"Mode": "MultiModel", "ModelDataUrl": "s3://b/models/"}
    found = spec(**many)
    assert found.model is None
    assert found.multi_model == MultiModel(prefix="s3://b/models/")
    assert found.sources == {"s3://b/models/code/"}
    uncached = spec(**many, MultiModelConfig={"ModelCacheSetting": "Disabled"})
    assert uncached.multi_model == MultiModel(prefix="s3://b/models/", is_cached=False)
    with pytest.raises(InvalidRequest, match="batch_size=2 does not go with many models"):
        spec(environment={"COLDSPARK_BATCH_SIZE": "2"}, **many)
    with pytest.raises(InvalidRequest, match="must be a prefix"):
        spec(Mode="MultiModel", ModelDataUrl="s3://b/model.tar.gz")
