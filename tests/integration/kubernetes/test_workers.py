"""Workers whose studies run in pods: what a killed worker left is removed before the next launch."""

from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.study.trial import TrialState
from support.fleet.killed_workers import (
    STUDY,
    kill,
    servers_until_done,
    submit,
    use_empty_store,
    wait_for_window,
    worker,
)

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store, and the fake engine among the plugins of all processes."""
    use_empty_store(tmp_path, monkeypatch)


def test_pods_of_a_killed_worker_are_removed_before_the_next_launch(kube: Any) -> None:
    """Its server and the load generator that measures it go on: nothing in the cluster has seen the worker's end."""
    before = set[str]()
    beside = set[str]()

    def pods(role: str = "") -> dict[str, str]:
        """The trials of pods by name."""
        return {p["metadata"]["name"]: p["metadata"]["labels"]["autotuner/trial"] for p in kube.objects("pods", role)}

    def servers() -> list[str]:
        found = list(pods("server").values())
        if "2" in found:
            beside.update(before & pods().keys())
        return found

    submit({"kind": "kubernetes", **kube.settings()}, trials=2, requests=150)
    with worker() as first:
        wait_for_window(1)
        kill(first)
        before |= pods().keys()
        assert servers() == ["1"]
        assert len(before) > 1, "no load generator"
        with worker():
            seen = servers_until_done(servers)
    assert frozenset({"2"}) in seen, "the second worker launched nothing"
    assert beside == set()
    states = [trial.state for trial in autotuner.open().load(STUDY).trials]
    assert states == [TrialState.DONE, TrialState.VOID, TrialState.DONE]
