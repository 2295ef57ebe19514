"""Studies in containers, with killed containers and engines, and with several tuners at once."""

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.report.exports import command_line
from autotuner.report.result import StudyResult
from autotuner.store import Store
from autotuner.study.base import Value
from autotuner.study.failure import FailureCause
from autotuner.study.trial import Phase, TrialState
from autotuner.testing.fake_engine import FakeEngine
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from support.labs.docker_engine import IMAGE, OwnEngine
from support.studies.installed_engines import install_engines

pytestmark = pytest.mark.docker

LONG_WORKLOAD = calm_workload(requests=100)
"""Long enough to kill something during a trial."""


class GpuEngine(FakeEngine):
    """A fake engine that needs one GPU."""

    kind = "fake_gpu"

    def gpus(self, values: dict[str, Value]) -> int:  # type: ignore[override]
        return 1


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and the fake engines as plugins."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    install_engines(monkeypatch, FakeEngine, GpuEngine)
    return tmp_path / "home"


def study(docker: OwnEngine, name: str, engine: str = "fake", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "model": "fake",
        "engine": {"kind": engine},
        "deploy": {"kind": "docker", **docker.settings(stop_grace="1s", **changes.pop("deploy", {}))},
        "parameters": {"parallel": [1, 2], "note": ['a  b {"c": 1}']},
        "workload": calm_workload(),
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 3, "seed": 1},
        "confirm": {"repeats": 0},
        **changes,
    }


@contextmanager
def running(*studies: dict[str, Any]) -> Iterator[list[Future[StudyResult]]]:
    """Runs each study with a tuner in its own thread."""
    with ThreadPoolExecutor(len(studies)) as pool:
        yield [pool.submit(autotuner.tune, content) for content in studies]


def test_a_study_in_containers(engine: OwnEngine, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("A_TOKEN", "very-secret-value")
    result = autotuner.tune(study(engine, "plain", deploy={"env_passthrough": ["A_TOKEN"]}))
    assert [t.state for t in result.trials] == [TrialState.DONE] * 3, [t.failure for t in result.trials]
    for trial in result.trials[1:]:
        assert f"--parallel={trial.configuration.values['parallel']}" in trial.argv
        assert '--note=a  b {"c": 1}' in trial.argv
        assert trial.command[:2] == ("docker", "run")
        assert trial.command[-len(trial.argv) :] == (IMAGE, *trial.argv[1:])
        assert trial.identity is not None
        assert trial.identity.kind == "container"
    assert shlex.split(command_line(result)) == list(result.winner.command if result.winner else ())
    assert engine.containers() == []
    stored = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert b"A_TOKEN" in stored
    assert b"very-secret-value" not in stored


def test_engine_killed_during_a_study(disposable_engine: OwnEngine) -> None:
    """The interrupted trial is void and is repeated; every configuration is measured, and no container is left."""
    content = study(disposable_engine, "lost", workload=LONG_WORKLOAD)
    with running(content) as (tuner,):
        until(lambda: phase_of("lost", 1) is Phase.MEASURING)
        disposable_engine.kill()
        disposable_engine.start()
        result = tuner.result(60)
    states = [(t.state, t.failure.cause if t.failure else None) for t in result.trials]
    assert states.count((TrialState.VOID, FailureCause.DEPLOYER_LOST)) == 1, states
    assert states.count((TrialState.DONE, None)) == 3, states
    assert {t.configuration.values.get("parallel") for t in result.trials if t.state is TrialState.DONE} == {None, 1, 2}
    assert disposable_engine.containers() == []


def test_killed_container_voids_its_trial(engine: OwnEngine) -> None:
    with running(study(engine, "killed", workload=LONG_WORKLOAD)) as (tuner,):
        until(lambda: phase_of("killed", 1) is Phase.MEASURING)
        (container,) = engine.containers()
        engine.api("POST", f"/containers/{container['Id']}/kill")
        result = tuner.result(60)
    states = [(t.state, t.failure.cause if t.failure else None) for t in result.trials]
    void = (TrialState.VOID, FailureCause.ENVIRONMENT)
    done = (TrialState.DONE, None)
    assert states == [done, void, done, done], "the trial was repeated"
    assert result.trials[1].failure is not None
    assert result.trials[1].failure.exit_code == -signal.SIGKILL
    assert engine.containers() == []


def test_gpus_of_parallel_trials_of_two_tuners_are_disjoint(engine: OwnEngine) -> None:
    deploy = {"gpu_ids": ["GPU-a", "GPU-b", "GPU-c"]}
    search = {"strategy": "grid", "trials": 3, "seed": 1, "parallel": 2}
    contents = [
        study(engine, n, "fake_gpu", deploy=deploy, search=search, workload=LONG_WORKLOAD) for n in ("one", "two")
    ]
    most = 0
    shared = list[list[str]]()
    with running(*contents) as tuners:
        while not all(tuner.done() for tuner in tuners):
            used = [gpu for c in engine.containers() if c["State"] == "running" for gpu in gpus_of(engine, c["Id"])]
            most = max(most, len(used))
            shared += [used] if len(used) != len(set(used)) else []
            time.sleep(0.02)
        results = [tuner.result() for tuner in tuners]
    assert shared == []
    assert most >= 2, "no trials overlapped, so that the test proves nothing"
    assert [t.state for r in results for t in r.trials] == [TrialState.DONE] * 6
    assert engine.containers() == []


def gpus_of(engine: OwnEngine, name: str) -> list[str]:
    found = engine.api("GET", f"/containers/{name}/json")
    requests = found.json()["HostConfig"]["DeviceRequests"] or [] if found.status_code == 200 else []
    return [gpu for request in requests for gpu in request["DeviceIDs"]]


def phase_of(name: str, trial: int) -> Phase | None:
    with Store.open() as store:
        seen = [e for e in store.events.read(name) if e.kind == "phase" and e.trial == trial]
    return Phase(str(seen[-1].data["phase"])) if seen else None


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
