"""Commands on the queue: submit, queue, stop, list, workers, and what a worker refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotuner import UnreachableTarget
from autotuner.cli.fleet.page import launched_text
from autotuner.store import Store
from autotuner.store.records import WorkerRecord
from autotuner.tuning.run_liveness import this_owner

STUDY = {
    "model": "Qwen/Qwen3-8B",
    "engine": "vllm",
    "workload": {"scenarios": "D(8,4)", "concurrency": 1},
    "objective": "max output_throughput",
}
Call = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    """Writes a study file."""

    def write(name: str, **changes: Any) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"name": name, **STUDY, **changes}))
        return str(path)

    return write


def register(name: str, *, lease_s: float = 20.0) -> None:
    with Store.open() as store:
        labels = {"gpu": "h100"}
        store.workers.register(WorkerRecord(id=name, host="node-1", pid=7, labels=labels, at_most=2, lease_s=lease_s))


def test_submitted_studies_are_shown_with_their_place(call: Call, file: Callable[..., str]) -> None:
    first = call("submit", file("first"))
    assert (first.code, first.out) == (0, "first: number 1 in the queue\n")
    assert "no worker is running" in first.err
    assert call("queue").out.splitlines()[-1] == "first waits: no worker is running"
    register("w")
    second = call("submit", file("second", worker="gpu=h100"), "--priority", "5", "--json")
    assert (second.data["study"], second.data["position"], second.err) == ("second", 1, "")
    assert [entry["study"] for entry in call("queue", "--json").data["queue"]] == ["second", "first"]
    table = call("queue").out
    assert re.search(r"1 +second +queued +5 +gpu=h100", table)
    assert re.search(r"2 +first +queued +0", table)
    listed = call("list").out
    assert re.search(r"second +queued #1", listed)
    assert re.search(r"first +queued #2", listed)
    states = {study["name"]: study["position"] for study in call("list", "--state", "queued", "--json").data["studies"]}
    assert states == {"second": 1, "first": 2}


def test_the_queue_says_why_a_worker_left_a_study_to_others(call: Call, file: Callable[..., str]) -> None:
    call("submit", file("chat"))
    register("w")
    owner = this_owner()
    with Store.open() as store:
        assert store.queue.take(worker="w", owner=owner, lease_s=20.0, labels={}, dead=()) == "chat"
        store.queue.refuse("chat", "machine has changed")
        assert "cannot run" not in call("queue").out
        store.studies.release("chat", owner.id, requeue=True)
    assert call("queue").out.splitlines()[-1] == "chat cannot run on node-1: machine has changed"
    assert call("queue", "--json").data["queue"][0]["refusals"] == {"w": "machine has changed"}
    call("submit", file("chat"))
    assert call("queue", "--json").data["queue"][0]["refusals"] == {}


def test_stop_removes_a_queued_study(call: Call, file: Callable[..., str]) -> None:
    call("submit", file("s"))
    stopped = call("stop", "s")
    assert (stopped.code, stopped.out) == (0, "s: removed from the queue\n")
    assert call("queue").out == "the queue is empty; to add a study: autotuner submit FILE\n"
    assert call("stop", "s", "--json").data == {"study": "s", "running": False}


def test_a_running_study_is_shown_with_the_host_of_its_worker(call: Call, file: Callable[..., str]) -> None:
    register("w")
    call("submit", file("s"))
    with Store.open() as store:
        assert store.queue.take(worker="w", owner=this_owner(), lease_s=20.0, labels={}, dead=()) == "s"
    assert re.search(r"s +on node-1", call("queue").out)
    workers = call("workers").out
    assert re.search(r"w +node-1:7 +running +gpu=h100 +s +2", workers)
    (found,) = call("workers", "--json").data["workers"]
    assert (found["alive"], found["studies"]) == (True, ["s"])
    assert call("stop", "s").out == "s: stop requested\n"
    assert call("submit", file("s")).code == 1


def test_a_target_that_cannot_be_listed_is_named() -> None:
    down = UnreachableTarget(deploy="docker", reason="cannot connect")
    assert launched_text([], [down]).splitlines() == [
        "no servers or load generators of any run",
        "docker cannot be listed: cannot connect",
    ]


def test_workers_that_are_silent_are_lost(call: Call) -> None:
    assert call("workers").out == "no workers; to start one: autotuner worker\n"
    register("w", lease_s=0.0)
    assert re.search(r"w +node-1:7 +lost", call("workers").out)


@pytest.mark.parametrize(
    ("options", "where"),
    [(["--label", "gpu"], "--label"), (["--lease", "1h"], "--lease"), (["--drain", "x"], "--drain")],
)
def test_wrong_options_of_a_worker_are_usage_errors(call: Call, options: list[str], where: str) -> None:
    ended = call("worker", *options)
    assert ended.code == 2
    assert where in ended.err
