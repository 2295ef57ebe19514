"""Processes and ports of this machine, for tests of servers as child processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.deployers.local import procfs
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.testing.deployer_kit import LABELS, Recorder


def free_range(count: int = 40) -> tuple[int, int]:
    """A range of ports that nothing listens on, below the ephemeral ports."""
    taken = procfs.listening_ports("127.0.0.1")
    first = next(p for p in range(20000 + os.getpid() % 5000, 32000) if not taken & set(range(p, p + count)))
    return first, first + count - 1


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that are running."""
    found = [procfs.stat(pid) for pid in pids]
    return [s.pid for s in found if s and s.alive]


def labeled(study: str) -> list[str]:
    """Command lines of all processes on this machine that carry the label of this study."""
    return [
        " ".join(procfs.cmdline(p.pid))
        for p in procfs.processes()
        if p.pid != os.getpid() and procfs.environ(p.pid).get("AUTOTUNER_STUDY") == study
    ]


@pytest.fixture
def deployer() -> ProcessDeployer:
    """A deployer with one port."""
    return ProcessDeployer(ProcessSettings(ports=free_range(1), stop_grace=0.5))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A trial's context; no process of the trial may be left behind."""
    yield Recorder(tmp_path / "trial")
    assert labeled(LABELS.study) == []
