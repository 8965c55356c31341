"""How many processor cores this process may use.

`os.cpu_count()` counts the cores of the host. In a container, or in a job of a cluster, a process may use fewer: its
affinity names cores (`docker run --cpuset-cpus`, `taskset`, SLURM), and a quota of its control group limits their time
(`docker run --cpus`, Kubernetes). More threads than cores only take memory and wait for each other.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

# Of this process, where a scheduler such as Ray gives it a share without telling the system.
_limit: int | None = None


def limit_cores(n_cores: int) -> None:
    """Let `usable_cores` return no more than `n_cores` in this process."""
    global _limit
    _limit = n_cores


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: the least of its affinity and of the quotas above it.

    Parameters
    ----------
    root : Path
        Where `proc/` and `sys/` lie.

    Returns
    -------
    int
        At least 1. A quota of one and a half cores counts as two.
    """
    # Neither macOS nor Windows has the first of them.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, _limit or cores, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas of the control groups to which this process belongs, in cores; groups of both versions."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            for folder in _upwards(mounted, path):
                yield from _ratio(*_text(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for name in {controllers, "cpu"}:
                for folder in _upwards(mounted / name, path):
                    yield from _ratio(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _upwards(mounted: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a group and those above it. In a container, the path may be the host's and not be there."""
    folder = mounted / path.strip("/")
    yield from [folder, *folder.parents][: len(folder.parts) - len(mounted.parts) + 1]


def _ratio(quota: str = "", period: str = "") -> Iterator[float]:
    """Yield quota over period, both in microseconds; nothing where there is no limit (`max`, -1)."""
    try:
        if int(quota) > 0:
            yield int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        pass


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
