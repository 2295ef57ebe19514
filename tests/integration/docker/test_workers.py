"""Workers whose studies run in containers: what a killed worker left is removed before the next launch."""

from pathlib import Path

import pytest

import autotuner
from autotuner.study.trial import TrialState
from support.fleet.killed_workers import (
    STUDY,
    kill,
    removals,
    servers_until_done,
    submit,
    use_empty_store,
    wait_for_window,
    worker,
)
from support.labs.docker_engine import OwnEngine

pytestmark = pytest.mark.docker

TRIAL = "autotuner.trial"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, and the fake engine among the plugins of all processes."""
    use_empty_store(tmp_path, monkeypatch)


@pytest.mark.usefixtures("nothing_left")
def test_a_container_of_a_killed_worker_is_removed_before_the_next_launch(engine: OwnEngine) -> None:
    """It is even paused, so that it cannot end by itself, and keeps what it has, such as a GPU."""
    submit({"kind": "docker", **engine.settings(stop_grace="1s")}, trials=3, requests=40)
    with worker() as first:
        wait_for_window(1)
        kill(first)
        (left,) = engine.containers()
        assert engine.api("POST", f"/containers/{left['Id']}/pause").status_code == 204
        with worker():
            seen = servers_until_done(lambda: [found["Labels"][TRIAL] for found in engine.containers()])
            notices = removals()
    assert frozenset({"2"}) in seen, "the second worker launched nothing"
    states = [trial.state for trial in autotuner.open().load(STUDY).trials]
    assert states == [TrialState.DONE, TrialState.VOID, TrialState.DONE, TrialState.DONE]
    # A worker cleans up when it starts, too; if that was faster, the study has nothing to report.
    assert all("study s trial 1" in notice for notice in notices)
