"""The catalogue: names as people and drivers write them, and the guide's memory rule."""

import pytest

from coldspark.platform import catalogue
from coldspark.spec.messages import Device
from coldspark.spec.types import GIB, DeviceId, GpuRequest, usable_bytes

CATALOGUE = catalogue.load()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("T4", "T4"),
        ("nvidia-t4", "T4"),
        ("Tesla T4", "T4"),
        ("NVIDIA A10G", "A10G"),
        ("a10g", "A10G"),
        ("A100-40GB", "A100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("Tesla V100-SXM2-16GB", "V100-16GB"),
        ("v100", "V100-16GB"),
        ("small", "A10G"),
        ("large", "A100"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-1g.5gb"),
        ("mig-3g.40gb", "MIG-3g.40gb"),
    ],
)
def test_a_type_is_found_by_any_of_its_names(text: str, name: str) -> None:
    """People's, SageMaker's and the driver's names all lead to one type."""
    gpu = CATALOGUE.gpu(text)
    assert gpu is not None
    assert gpu.name == name


def test_an_unknown_type_is_none() -> None:
    """The caller decides what an unknown name means."""
    assert CATALOGUE.gpu("Z9000") is None


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("A10G", (GpuRequest(type="A10G"),)),
        ("A100:4", (GpuRequest(type="A100", count=4),)),
        ("A10G/0.5", (GpuRequest(type="A10G", fraction=0.5),)),
        ("L4, a10g", (GpuRequest(type="L4"), GpuRequest(type="A10G"))),
        ("small", (GpuRequest(type="A10G"),)),
        ("large", (GpuRequest(type="A100"),)),
        ("none", ()),
        ("", ()),
    ],
)
def test_a_wish_is_read(text: str, asks: tuple[GpuRequest, ...]) -> None:
    """Every notation of the guide and of the design is understood."""
    assert CATALOGUE.parse_gpu(text) == asks


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A10", None),
        ("A1OG", "A10G"),
        ("RTX4080", "RTX-4090"),
        ("zzz", "T4, A10G, A100"),
        ("A10G:0", "at least 1"),
        ("A10G/2", "must lie in"),
        ("A10G/1.1.1", "must be a number"),
        ("A10G:2/0.5", "not offered"),
        ("A10G,,T4", "not understood"),
    ],
)
def test_a_wish_that_cannot_be_read_says_what_would(text: str, words: str | None) -> None:
    """The message holds near names or the rule that was broken."""
    if words is None:
        assert CATALOGUE.parse_gpu(text)
        return
    with pytest.raises(ValueError, match=words):
        CATALOGUE.parse_gpu(text)


@pytest.mark.parametrize("model", [15 * 10**9, 15 * GIB])
def test_a_15_gb_model_needs_an_a10g(model: int) -> None:
    """The guide: Llama 7B at 15 GB fits A10G or A100, not T4."""
    t4 = CATALOGUE.gpu("T4")
    assert t4 is not None
    assert model > usable_bytes(t4.memory_bytes)
    fitting = CATALOGUE.smallest_that_fits(model)
    assert fitting is not None
    assert fitting.name == "A10G"


def test_a_70b_model_fits_no_guide_type_but_is_told_the_next() -> None:
    """70 GB exceeds an A100-40; 300 GB exceeds everything."""
    fitting = CATALOGUE.smallest_that_fits(70 * 10**9)
    assert fitting is not None
    assert fitting.name == "A100-80GB"
    assert CATALOGUE.smallest_that_fits(300 * 10**9) is None


@pytest.mark.parametrize(
    ("name", "gpu", "count", "vcpus", "memory"),
    [
        ("ml.g4dn.xlarge", "T4", 1, 4, 16),
        ("ml.g5.12xlarge", "A10G", 4, 48, 192),
        ("g5.xlarge", "A10G", 1, 4, 16),
        ("ML.G6E.XLARGE", "L40S", 1, 4, 32),
        ("ml.p4d.24xlarge", "A100", 8, 96, 1152),
        ("ml.p4de.24xlarge", "A100-80GB", 8, 96, 1152),
        ("ml.p5.48xlarge", "H100", 8, 192, 2048),
        ("ml.p5en.48xlarge", "H200", 8, 192, 2048),
        ("ml.m5.large", None, 0, 2, 8),
        ("ml.c6i.2xlarge", None, 0, 8, 16),
        ("ml.t2.medium", None, 0, 2, 4),
    ],
)
def test_an_instance_type_is_a_wish_for_resources(
    name: str, gpu: str | None, count: int, vcpus: int, memory: int
) -> None:
    """AWS's names give GPU, count, vCPU and RAM."""
    instance = CATALOGUE.instance(name)
    assert instance is not None
    assert (instance.gpu, instance.gpu_count) == (gpu, count)
    assert (instance.vcpus, instance.memory_bytes) == (vcpus, memory * GIB)


def test_every_gpu_of_an_instance_is_in_the_catalogue() -> None:
    """The data file is consistent in itself."""
    for instance in CATALOGUE.instances:
        assert (instance.gpu is None) == (instance.gpu_count == 0), instance
        assert instance.gpu is None or CATALOGUE.gpu(instance.gpu) is not None, instance


def test_an_unknown_device_of_this_machine_can_be_asked_for() -> None:
    """A type that the data file lacks is known by the machine's own inventory."""
    device = Device(id=DeviceId("GPU-1"), type="Quadro-9", memory_bytes=8 * GIB)
    assert CATALOGUE.including([device]).parse_gpu("quadro-9") == (GpuRequest(type="Quadro-9"),)
