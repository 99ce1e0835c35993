"""The CPUs of this machine: how many a computation may use, and whether their int8 products are exact."""

import os
import platform
from pathlib import Path

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
CPU_FACTS = Path("/proc/cpuinfo")
VNNI_FLAGS = {"avx512_vnni", "avx_vnni"}


def usable_cpus(quota_file: Path = CGROUP_QUOTA) -> int:
    """Count the CPUs that a computation should use, 1 or more. In a container, count the container's share.

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


def int8_saturates(facts_file: Path = CPU_FACTS) -> bool:
    """Whether full-range int8 weights can overflow here. x86 CPUs without VNNI add products in 16 bits, and overflow.

    Args: facts_file, Linux's list of CPUs. Without that file, an x86 CPU counts as one without VNNI.
    Source: onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why do I need to try U8U8?"
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    try:
        lines = facts_file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return VNNI_FLAGS.isdisjoint(flags)
