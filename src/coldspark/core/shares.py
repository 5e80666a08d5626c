"""Which part of a machine a replica holds."""

from coldspark.core.messages import Grant, NodeJoined
from coldspark.core.meter import WHOLE_PPM
from coldspark.core.types import Resources


def share_ppm(node: NodeJoined, grant: Grant, resources: Resources) -> int:
    """Return the part of the machine that a replica holds: its largest share of any resource.

    This is the dominant share of Ghodsi et al., "Dominant Resource Fairness" (NSDI 2011).
    """
    devices = len(grant.devices) * grant.fraction / max(1, len(node.devices))
    memory = resources.memory_bytes / node.memory_bytes
    vcpus = resources.vcpus / node.vcpus
    return min(WHOLE_PPM, round(WHOLE_PPM * max(devices, memory, vcpus)))
