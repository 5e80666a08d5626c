"""The platforms that the guide compares, as rules, cold starts and price books: data, dated.

Cold starts are the guide's figures (2026-03) for a whole start, model included, taken as evenly
spread over its range. What has no source is an assumption, and is shown as one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coldspark.sim.traffic import Durations
from coldspark.spec.scaling_rules import KeepAlive, QueueDelay, Rule

GUIDE_DATE = "2026-03"
_SAMPLES = 101


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerlessPlatform:
    """How one platform scales, starts and bills."""

    name: str
    title: str
    book: str
    """Its price book."""
    as_of: str
    rule: Rule
    start_s: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The range of a cold start by GPU type; ``*`` is any other, ``CPU`` none."""
    round_up_s: float = 0.0
    """Billed time of a replica's life is rounded up to so much."""
    sells_provisioned: bool = False
    """Replicas can be kept warm, at a rate of their own."""
    assumptions: tuple[str, ...] = ()

    def start_of(self, gpu: str) -> Durations | None:
        """Return a cold start on a type; None where nothing is known of it."""
        found = self.start_s.get(gpu)
        if found is None and gpu != "CPU":
            found = self.start_s.get("*")
        return None if found is None else uniform(*found)


def uniform(low_s: float, high_s: float) -> Durations:
    """Return durations that are evenly spread over a range."""
    if low_s == high_s:
        return Durations.fixed(low_s)
    step_s = (high_s - low_s) / (_SAMPLES - 1)
    return Durations([low_s + index * step_s for index in range(_SAMPLES)])


SAGEMAKER = ServerlessPlatform(
    name="sagemaker",
    title="SageMaker Serverless GPU, as in the guide",
    book="guide-2026-03",
    as_of=GUIDE_DATE,
    rule=KeepAlive(keep_s=450.0),
    start_s={"T4": (30.0, 30.0), "A10G": (40.0, 40.0), "A100": (50.0, 60.0)},
    sells_provisioned=True,
    assumptions=("an idle instance is kept for 5 to 10 minutes: 7.5 taken (no source)",),
)
RUNPOD = ServerlessPlatform(
    name="runpod",
    title="RunPod Serverless, flex",
    book="runpod-2026-10",
    as_of="2026-10",
    rule=QueueDelay(delay_s=4.0, idle_s=5.0),
    start_s={"*": (5.0, 15.0)},
    round_up_s=1.0,
    assumptions=("its default scaling: QUEUE_DELAY of 4 s, idle timeout of 5 s",),
)
MODAL = ServerlessPlatform(
    name="modal",
    title="Modal",
    book="modal-2026-07",
    as_of="2026-07",
    rule=KeepAlive(keep_s=60.0),
    start_s={"*": (2.0, 8.0)},
    assumptions=(
        "its default scaledown window of 60 s",
        "CPU and memory, charged beside the GPU, are left out",
    ),
)
LAMBDA = ServerlessPlatform(
    name="lambda",
    title="AWS Lambda (CPU)",
    book="lambda",
    as_of="2025-08",
    rule=KeepAlive(keep_s=600.0),
    start_s={"CPU": (1.0, 3.0)},
    round_up_s=0.001,
    assumptions=("an idle environment is kept for 10 minutes (no source)",),
)
SERVERLESS: tuple[ServerlessPlatform, ...] = (SAGEMAKER, RUNPOD, MODAL, LAMBDA)
DEDICATED_BOOKS: tuple[str, ...] = ("guide-2026-03", "ec2-on-demand")
"""Where the price of a whole instance stands, by GPU type."""
GUIDE_START_S: Mapping[str, tuple[float, float]] = SAGEMAKER.start_s
"""Taken for a start here where none was measured."""
