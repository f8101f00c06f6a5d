"""The processors and memory that a process may use, from affinity and control groups."""

import os

import pytest

from ntire_sr.core import machine
from ntire_sr.core.machine import THREADS_VARIABLE, Processors, memory_bytes, processors

V1 = "5:memory:/job\n4:cpu,cpuacct:/box/job\n"
V2 = "0::/box/job\n"


def process_in(folder, cgroup: str, mounts: list[str]):
    """A folder like /proc/self of a process in these control groups."""
    process = folder / "proc"
    process.mkdir()
    (process / "cgroup").write_text(cgroup)
    (process / "mountinfo").write_text("".join(f"1 2 0:1 {mount}\n" for mount in mounts))
    return process


def write(folder, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("outer", "inner", "quota"),
    [
        ("max 100000", "150000 100000", 1.5),
        ("100000 100000", "max 100000", 1.0),
        ("max 100000", "max 100000", None),
    ],
)
def test_quota_of_version_2_is_the_least_of_all_groups(tmp_path, outer, inner, quota):
    process = process_in(tmp_path, V2, [f"/ {tmp_path}/groups rw - cgroup2 cgroup rw"])
    write(tmp_path / "groups" / "box", cpu__max=outer)
    write(tmp_path / "groups" / "box" / "job", cpu__max=inner)
    assert processors(process).quota == quota


@pytest.mark.parametrize(("value", "quota"), [(250000, 2.5), (-1, None)])
def test_quota_of_version_1_is_read_below_the_root_of_the_mount(tmp_path, value, quota):
    mount = f"/box {tmp_path}/cpu\\040groups rw - cgroup cgroup rw,cpuacct,cpu"
    process = process_in(tmp_path, V1, [mount, "/ /sys rw - sysfs sysfs rw"])
    write(tmp_path / "cpu groups" / "job", **{"cpu__cfs_quota_us": value, "cpu__cfs_period_us": 100000})
    assert processors(process).quota == quota


def test_memory_is_limited_by_the_control_group(tmp_path):
    mounts = [f"/ {tmp_path}/memory rw - cgroup cgroup rw,memory"]
    process = process_in(tmp_path, V1, mounts)
    unlimited = memory_bytes(process)
    write(tmp_path / "memory" / "job", memory__limit_in_bytes=10**9)
    assert memory_bytes(process) == 10**9 and (unlimited is None or unlimited > 10**9)


def test_process_without_control_groups_has_no_quota(tmp_path):
    assert processors(tmp_path).quota is None


def test_text_names_the_limit():
    assert str(Processors(8, 8, None)) == "8" == str(Processors(8, 8, 12.0))
    assert str(Processors(8, 2, None)) == "2 of 8 (affinity: 2)"
    assert str(Processors(8, 4, 0.5)) == "1 of 8 (affinity: 4, quota of the control group: 0.5)"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processor affinity of Linux")
def test_affinity_limits_the_usable_processors():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert processors().usable == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("quota", "given", "threads"), [(0.5, None, "1"), (0.5, "7", "7"), (None, None, None)])
def test_torch_gets_no_more_threads_than_the_quota_allows(monkeypatch, quota, given, threads):
    monkeypatch.setattr(os, "environ", {THREADS_VARIABLE: given} if given else {})
    monkeypatch.setattr(machine, "processors", lambda: Processors(8, 8, quota))
    machine.limit_threads()
    assert os.environ.get(THREADS_VARIABLE) == threads
