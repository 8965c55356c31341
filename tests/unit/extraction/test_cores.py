"""How many cores are used: affinity and quotas decide, not the host's number."""

import os
from pathlib import Path

import pytest

from gap_ensemble.extraction.cores import usable_cores


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def version_2(root: Path, group: str, quotas: dict[str, str]) -> Path:
    write(root / "proc/self/cgroup", f"0::{group}\n")
    for folder, quota in quotas.items():
        write(root / f"sys/fs/cgroup{folder}/cpu.max", f"{quota}\n")
    return root


def version_1(root: Path, group: str, folder: str, quota: int, mounted: str = "cpu,cpuacct") -> Path:
    write(root / "proc/self/cgroup", f"5:memory:{group}\n4:cpu,cpuacct:{group}\n1:name=systemd:/\n")
    write(root / f"sys/fs/cgroup/{mounted}{folder}/cpu.cfs_quota_us", f"{quota}\n")
    write(root / f"sys/fs/cgroup/{mounted}{folder}/cpu.cfs_period_us", "100000\n")
    return root


def test_without_groups_affinity_decides(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 16


def test_without_affinity_the_number_of_cores_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores(tmp_path) == 64


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 16), ("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("9900000 100000", 16)],
)
def test_quota_of_version_2(tmp_path: Path, quota: str, cores: int) -> None:
    assert usable_cores(version_2(tmp_path, "/job", {"/job": quota})) == cores


def test_a_quota_of_a_group_above_counts(tmp_path: Path) -> None:
    quotas = {"/slurm": "400000 100000", "/slurm/job": "max 100000", "/slurm/job/step": "800000 100000"}
    assert usable_cores(version_2(tmp_path, "/slurm/job/step", quotas)) == 4


def test_in_a_container_only_the_top_is_there(tmp_path: Path) -> None:
    assert usable_cores(version_2(tmp_path, "/../../docker/1234", {"": "300000 100000"})) == 3


@pytest.mark.parametrize("mounted", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("folder", ["", "/docker/1234"])
def test_quota_of_version_1(tmp_path: Path, mounted: str, folder: str) -> None:
    assert usable_cores(version_1(tmp_path, "/docker/1234", folder, 250_000, mounted)) == 3


def test_no_quota_of_version_1(tmp_path: Path) -> None:
    assert usable_cores(version_1(tmp_path, "/", "", -1)) == 16


@pytest.mark.parametrize("text", ["", "max", "0 0", "100000 0", "many few"])
def test_what_is_no_quota_is_none(tmp_path: Path, text: str) -> None:
    assert usable_cores(version_2(tmp_path, "/", {"": text})) == 16
