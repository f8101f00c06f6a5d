"""The processors and the memory that this process may use, which can be less than the machine has.

A scheduler or a container limits them by processor affinity and by control groups of Linux, in version 1 or 2.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROCESS = Path("/proc/self")
THREADS_VARIABLE = "OMP_NUM_THREADS"  # number of threads of torch, read when it is imported


@dataclass(frozen=True)
class Processors:
    """Numbers of processors."""

    installed: int
    allowed: int  # by the affinity of this process
    quota: float | None  # processors' worth of time that the control groups allow; None: no limit

    @property
    def usable(self) -> int:
        """Number of threads that can compute at the same time.

        >>> Processors(64, 8, 3.5).usable
        4
        """
        return max(1, min(self.allowed, math.ceil(self.quota or self.allowed)))

    def __str__(self) -> str:
        reasons = []
        if self.allowed < self.installed:
            reasons.append(f"affinity: {self.allowed}")
        if self.quota is not None and self.quota < self.allowed:
            reasons.append(f"quota of the control group: {self.quota:.4g}")
        return f"{self.usable} of {self.installed} ({', '.join(reasons)})" if reasons else str(self.installed)


def processors(process: Path = PROCESS) -> Processors:
    """The processors of this machine, and those that this process may use."""
    installed = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed
    return Processors(installed, allowed, _quota(process))


def memory_bytes(process: Path = PROCESS) -> int | None:
    """The memory that this process and those in its control group may use together; None if that is unknown."""
    limits = []
    with suppress(ValueError, OSError, AttributeError):  # on systems other than Linux
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for folder in _control_groups("memory", process):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # the text "max" means no limit
                limits.append(int((folder / name).read_text()))
    return min(limits, default=None)


def within_memory(size: int) -> int:
    """A number of bytes, or a quarter of the memory that this process may use if that is less."""
    memory = memory_bytes()
    return size if memory is None else min(size, memory // 4)


def limit_threads() -> None:
    """Let torch, once it is imported, use no more threads than a quota allows; more would only wait for each other.

    Does nothing if OMP_NUM_THREADS is set. torch itself obeys the affinity.
    """
    available = processors()
    if available.usable < available.allowed:
        os.environ.setdefault(THREADS_VARIABLE, str(available.usable))


def _quota(process: Path) -> float | None:
    quotas = []
    for folder in _control_groups("cpu", process):
        with suppress(OSError, ValueError):  # the text "max" means no limit
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            quotas.append(int(quota) / int(period))
    return min((quota for quota in quotas if quota > 0), default=None)  # -1 means no limit


def _control_groups(controller: str, process: Path) -> Iterator[Path]:
    """Folders of the control groups of a process for `controller`, from its own to the outermost that is visible."""
    try:
        groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        mounts = [line.partition(" - ") for line in (process / "mountinfo").read_text().splitlines()]
    except OSError:  # not Linux
        return
    for mount, _, file_system in mounts:
        root, place = mount.split()[3:5]
        kind, _, options = file_system.split(maxsplit=2)
        if kind == "cgroup2":
            paths = [path for _, names, path in groups if not names]
        elif kind == "cgroup" and controller in options.split(","):
            paths = [path for _, names, path in groups if controller in names.split(",")]
        else:
            continue
        top = Path(place.encode().decode("unicode_escape"))  # a space is \040
        for path in paths:
            inside = Path(os.path.relpath(path, root))
            folder = top if ".." in inside.parts else top / inside
            yield from (folder, *(parent for parent in folder.parents if parent.is_relative_to(top)))
