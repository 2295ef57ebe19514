"""Workers whose studies run in containers: what a killed worker left is removed before the next launch."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import autotuner
from autotuner.events.types import PhaseEntered
from autotuner.study.trial import Phase, TrialState
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from support.labs.docker_engine import OwnEngine

pytestmark = pytest.mark.docker

PLUGINS = "[autotuner.engines]\nfake = autotuner.testing.fake_engine:FakeEngine\n"
TRIAL = "autotuner.trial"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, and the fake engine among the plugins of all processes."""
    info = tmp_path / "plugins" / "fake_engine_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-engine-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(PLUGINS)
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)


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


def measuring(study: str, trial: int) -> bool:
    """Whether a window of the trial has begun."""
    phases = (event for event in autotuner.open().events(study) if isinstance(event, PhaseEntered))
    return any(event.trial == trial and event.phase == Phase.MEASURING for event in phases)


def wait_for_window(study: str, trial: int) -> None:
    end = time.monotonic() + 120
    while not measuring(study, trial):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.usefixtures("nothing_left")
def test_a_container_of_a_killed_worker_is_removed_before_the_next_launch(engine: OwnEngine) -> None:
    """It is even paused, so that it cannot end by itself, and keeps what it has, such as a GPU."""
    tuner = autotuner.open()
    content = {
        "name": "s",
        "model": "fake",
        "engine": "fake",
        "deploy": {"kind": "docker", **engine.settings(stop_grace="1s")},
        "parameters": {"parallel": [1, 2]},
        "workload": calm_workload(requests=40),
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 3, "seed": 1},
        "confirm": {"repeats": 0},
    }
    tuner.submit(content)
    with worker() as first:
        wait_for_window("s", 1)
        kill(first)
        (left,) = engine.containers()
        assert engine.api("POST", f"/containers/{left['Id']}/pause").status_code == 204
        with worker():
            seen = list[frozenset[str]]()
            end = time.monotonic() + 120
            while tuner.overview("s").state != "done":
                assert time.monotonic() < end
                seen.append(frozenset(container["Labels"][TRIAL] for container in engine.containers()))
                time.sleep(0.02)
            (notice,) = [e.text for e in tuner.events("s") if "removed" in getattr(e, "text", "")]
    assert {len(trials) for trials in seen} <= {0, 1}, "two containers at once"
    assert frozenset({"2"}) in seen, "the second worker launched nothing"
    states = [trial.state for trial in tuner.load("s").trials]
    assert states == [TrialState.DONE, TrialState.VOID, TrialState.DONE, TrialState.DONE]
    assert "study s trial 1" in notice
