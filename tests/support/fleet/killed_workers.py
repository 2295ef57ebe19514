"""Workers that are killed in the middle of a window, and the study that another one takes over."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import autotuner
from autotuner.events.types import PhaseEntered
from autotuner.study.trial import Phase
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload

STUDY = "s"
_PLUGINS = "[autotuner.engines]\nfake = autotuner.testing.fake_engine:FakeEngine\n"


def use_empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, and the fake engine among the plugins of all processes."""
    info = tmp_path / "plugins" / "fake_engine_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-engine-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_PLUGINS)
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)


def submit(deploy: Mapping[str, Any], *, trials: int, requests: int) -> None:
    """Queues a study that launches one server after the other."""
    content = {
        "name": STUDY,
        "model": "fake",
        "engine": "fake",
        "deploy": deploy,
        "parameters": {"parallel": [1, 2]},
        "workload": calm_workload(requests=requests),
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": trials, "seed": 1},
        "confirm": {"repeats": 0},
    }
    autotuner.open().submit(content)


@contextmanager
def worker() -> Iterator[psutil.Process]:
    """A worker, which is killed with all of its processes at the end."""
    with subprocess.Popen([sys.executable, "-m", "autotuner", "worker", "--lease", "2s"]) as process:
        found = psutil.Process(process.pid)
        try:
            yield found
        finally:
            kill(found)


def kill(process: psutil.Process) -> None:
    """Kills a worker with everything that it started, watchers of containers included, at the same moment: each is
    stopped first, so that none sees the end of another."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for one in family:
            one.suspend()
        for one in family:
            one.kill()


def wait_for_window(trial: int) -> None:
    """Waits until a window of the trial has begun."""
    end = time.monotonic() + 120
    while not _measuring(trial):
        assert time.monotonic() < end
        time.sleep(0.05)


def servers_until_done(servers: Callable[[], Iterable[str]]) -> list[frozenset[str]]:
    """Looks at the servers until the study is done.

    Args:
        servers: The trials of all servers that exist.

    Returns:
        What each look saw.
    """
    seen = list[frozenset[str]]()
    end = time.monotonic() + 180
    tuner = autotuner.open()
    while tuner.overview(STUDY).state != "done":
        assert time.monotonic() < end
        found = list(servers())
        assert len(found) <= 1, f"two servers at once: trials {found}"
        seen.append(frozenset(found))
        time.sleep(0.02)
    return seen


def removals() -> list[str]:
    """What the worker that took the study over has removed."""
    return [text for event in autotuner.open().events(STUDY) if "removed" in (text := getattr(event, "text", ""))]


def _measuring(trial: int) -> bool:
    phases = (event for event in autotuner.open().events(STUDY) if isinstance(event, PhaseEntered))
    return any(event.trial == trial and event.phase == Phase.MEASURING for event in phases)
