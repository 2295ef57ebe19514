"""What this machine has, as far as this process may use it."""

import os
from pathlib import Path

import pytest

from autotuner.deployers.local import machine
from autotuner.deployers.shared import log_tail


def cgroup(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text + "\n")
    monkeypatch.setattr(machine, "_CGROUP", folder)


def test_without_limits_it_is_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup(tmp_path, monkeypatch, cpu_max="max 100000", memory_max="max")
    found = machine.hardware()
    assert found.cpus == len(os.sched_getaffinity(0))
    assert found.memory_gb > 0.1
    assert found.gpus == 0
    assert machine.hardware((0,)).cpus == 1


def test_a_container_has_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    cgroup(tmp_path, monkeypatch, cpu_max="250000 100000", memory_max=str(3 * 2**29))
    found = machine.hardware()
    assert found.cpus == 3, "two and a half cores are begun three"
    assert found.memory_gb == 1.5


def test_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert log_tail.tail(path, 5) == ""
    path.write_text("".join(f"line {i}\n" for i in range(100_000)) + "cut")
    assert log_tail.tail(path, 3) == "line 99998\nline 99999\ncut"
    path.write_bytes(b"x" * 1_000_000 + b"\xff")
    assert len(log_tail.tail(path, 3)) == 64 * 1024
