"""How many CPUs this process may use: a container's share is often less than the machine's."""

import os
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus(quota_file: Path = CGROUP_QUOTA) -> int:
    """Count the CPUs that a computation should spread over, 1 or more.

    Args: quota_file, cgroup v2's `cpu.max`: microseconds of CPU time per period, or `max`.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return allowed  # not Linux, or an older cgroup
    if quota == "max":
        return allowed
    return max(1, min(allowed, round(int(quota) / int(period))))
