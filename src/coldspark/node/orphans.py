"""Find and end what an earlier run of this installation left running. The second net.

The first is the templates' own: they see the supervisor's socket end and kill all they forked.
"""

from coldspark.node import processes
from coldspark.node.cgroups import Cgroups


def reap_orphans(instance: str, cgroups: Cgroups) -> int:
    """Kill every process of an earlier run of ``instance``; return how many carried its mark.

    Call it before anything was started: whatever carries the mark then is a leftover.
    """
    left = cgroups.orphans()
    for cgroup in left:
        cgroup.kill()
    killed = processes.kill_tagged(processes.INSTANCE_TAG, instance)
    for cgroup in left:
        cgroups.retire(cgroup)
    return killed
