"""Cores and open files that the load generator may use."""

import resource
from pathlib import Path

import pytest

from autotuner.benchmarks.loadgen.http.descriptors import check_descriptors, descriptor_limit
from autotuner.benchmarks.loadgen.processes.cores import available_cores
from autotuner.invalid_value import InvalidValueError


@pytest.mark.parametrize("text", ["150000 100000\n", "100000 100000", "50000 100000"])
def test_a_container_limit_counts(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cores(tmp_path) == 1


@pytest.mark.parametrize("text", ["max 100000", "nonsense", "9000000 100000", ""])
def test_without_a_lower_limit_it_is_the_machine(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cores(tmp_path) == available_cores(tmp_path / "none")


def test_the_older_cgroup_counts_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    assert available_cores(tmp_path) == 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert available_cores(tmp_path) == available_cores(tmp_path / "none")


def test_too_low_a_limit_of_open_files_is_named_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert descriptor_limit() == 1024
    check_descriptors(900, 1)
    check_descriptors(1800, 2)
    with pytest.raises(InvalidValueError) as caught:
        check_descriptors(4096, 2)
    assert {"4096", "1024", "2112"} <= set(caught.value.why.replace(",", " ").split())
    assert "2112" in caught.value.remedy
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    check_descriptors(1_000_000, 1)
