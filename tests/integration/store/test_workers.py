"""Workers on several machines with one PostgreSQL: studies are taken over, stopped and handed back.

A machine is a PID namespace: its processes cannot be seen from the others, so that heartbeats decide, and killing its
first process kills all of them at once, as a power failure does.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

import autotuner
from autotuner.store import Store
from autotuner.study.trial import Trial, TrialRole
from support.fleet.scripted_studies import HOST, install, journal_of, scripted_study

LEASE_S = 2.0
NAMESPACE = ["unshare", *([] if os.getuid() == 0 else ["-U", "-r"]), "-u", "-p", "-f", "--kill-child", "--mount-proc"]
NAMED = ["sh", "-c", 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"']
"""Runs a command on a machine of the name that follows."""

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed (apt install util-linux)"),
]


class Fleet:
    """Workers on machines of their own, and what they noted."""

    def __init__(self, url: str, folder: Path, variables: dict[str, str]) -> None:
        self.url = url
        self.folder = folder
        self.tuner = autotuner.open(url)
        self._variables = {**os.environ, **variables, "AUTOTUNER_STORE": url}
        self._machines: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, machine: str, *options: str, lease_s: float = LEASE_S, ready: bool = True) -> None:
        """Starts a worker on a new machine, and waits until it is registered."""
        home = self.folder / machine
        log = (self.folder / f"{machine}.log").open("ab")
        command = [sys.executable, "-m", "autotuner", "worker", "--lease", f"{lease_s}s", *options, "-v"]
        variables = {**self._variables, "AUTOTUNER_HOME": str(home), HOST: machine}
        before = len(self.tuner.workers()) if ready else 0
        with log:
            self._machines[machine] = subprocess.Popen(
                [*NAMESPACE, *NAMED, machine, *command], env=variables, stderr=log
            )
        if ready:
            until(lambda: len(self.tuner.workers()) > before, f"worker on {machine}")

    def serve(self, machine: str, scope: str) -> httpx.Client:
        """Starts a server, which is a worker as well, on a new machine; returns a client of it."""
        log = self.folder / f"{machine}.log"
        command = [sys.executable, "-m", "autotuner", "serve", "--port", "0"]
        variables = {**self._variables, "AUTOTUNER_HOME": str(self.folder / machine), HOST: machine}
        with log.open("ab") as out:
            self._machines[machine] = subprocess.Popen(
                [*NAMESPACE, *NAMED, machine, *command], env=variables, stderr=out
            )
        until(lambda: "API: http" in log.read_text(), f"server on {machine}")
        url = re.search(r"API: (http://[^/]+)", log.read_text())
        assert url is not None
        secret = self.tuner.access().create(machine, scope).secret
        return httpx.Client(base_url=url[1], headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=60)

    def fail(self, machine: str) -> None:
        """Kills everything on a machine."""
        process = self._machines.pop(machine)
        process.kill()
        process.wait(60)

    def signal(self, machine: str, number: int) -> None:
        """Sends a signal to the worker, which is the only child of ``unshare``."""
        (child,) = (
            Path(f"/proc/{self._machines[machine].pid}/task/{self._machines[machine].pid}/children").read_text().split()
        )
        os.kill(int(child), number)

    def ended(self, machine: str) -> int:
        """Waits for the worker to end, and returns its exit code."""
        return self._machines.pop(machine).wait(60)

    def close(self) -> None:
        """Kills all machines."""
        for machine in list(self._machines):
            self.fail(machine)

    def journal(self, study: str) -> list[dict[str, Any]]:
        return journal_of(self.folder, study)

    def log(self, machine: str) -> str:
        return (self.folder / f"{machine}.log").read_text()


@pytest.fixture
def fleet(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    folder = tmp_path / "fleet"
    variables = install(folder)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    made = Fleet(postgresql_url, folder, variables)
    try:
        yield made
    finally:
        made.close()


def until(true: Callable[[], Any], what: str, limit_s: float = 60) -> float:
    """Waits, and returns for how many seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit_s, f"not in {limit_s:g} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def state(fleet: Fleet, study: str) -> str:
    return fleet.tuner.study(study).state


def assert_complete(fleet: Fleet, name: str, *, trials: int, repeats: int) -> None:
    """Every result is there once, no trial was launched twice, and no two runs overlapped."""
    result = fleet.tuner.load(name)
    assert result.state == "done"
    finished = [t for t in result.trials if t.state.finished]
    searched = [t for t in finished if t.role is not TrialRole.CONFIRM]
    keys = [t.configuration.key for t in searched]
    assert len(keys) == len(set(keys)) == trials
    assert len(finished) - len(searched) == 2 * repeats
    assert [t.number for t in result.trials] == list(range(len(result.trials)))
    journal = fleet.journal(name)
    launched = [entry["trial"] for entry in journal if entry["what"] == "launched"]
    assert len(launched) == len(set(launched)), "no trial was launched by two runs"
    runs = [entry["pid"] for entry in journal]
    changes = sum(one != other for one, other in pairwise(runs))
    assert changes == len(set(runs)) - 1, "a run went on beside its successor"


def stored(fleet: Fleet, name: str) -> dict[int, Trial]:
    with Store.open(fleet.url) as store:
        return {trial.number: trial for trial in store.trials.all(name) if trial.state.finished}


def test_studies_are_taken_over_from_a_machine_that_failed_in_any_phase(fleet: Fleet) -> None:
    """Right after a study was taken, in the launch and in the window of a trial, between two trials, in the proof."""
    points = {"launch": "launching 1", "window": "measuring 1", "between": "stored 1", "proof": "measuring 4"}
    for name, point in points.items():
        (fleet.folder / f"{name}.freeze").write_text(point)
        fleet.tuner.submit(scripted_study(name))
    fleet.start("a", "--at-most", "5")
    until(lambda: not list(fleet.folder.glob("*.freeze")), "all of them are at their points")
    fleet.tuner.submit(scripted_study("taken"))
    until(lambda: all(entry.worker_id for entry in fleet.tuner.queue()), "taken")
    fleet.fail("a")
    names = [*points, "taken"]
    kept = {name: stored(fleet, name) for name in names}
    assert [len(kept[name]) for name in names] == [1, 1, 2, 4, 0]
    fleet.start("b", "--at-most", "5")
    until(lambda: all(state(fleet, name) == "done" for name in names), "taken over and done", 120)
    for name in names:
        now = stored(fleet, name)
        assert {number: now.get(number) for number in kept[name]} == kept[name], "a result was lost or changed"
        assert_complete(fleet, name, trials=4, repeats=2)
        cut_off = [trial for trial in fleet.tuner.load(name).trials if not trial.state.finished]
        assert len(cut_off) == (name not in {"between", "taken"}), "nothing else was cut off"
    until(lambda: fleet.tuner.queue() == [], "an empty queue")


def test_several_workers_share_the_studies_while_one_fails(fleet: Fleet) -> None:
    """Three workers with two studies at a time each, six studies, and a machine that fails in the middle."""
    names = [f"s{number}" for number in range(6)]
    for name in names:
        fleet.tuner.submit(scripted_study(name))
    (fleet.folder / "s0.freeze").write_text("measuring 2")
    for machine in ("a", "b", "c"):
        fleet.start(machine, "--at-most", "2", ready=False)
    until(lambda: fleet.journal("s0") and not (fleet.folder / "s0.freeze").exists(), "frozen")
    fleet.fail(fleet.journal("s0")[-1]["host"])
    until(lambda: all(state(fleet, name) == "done" for name in names), "all done", 120)
    for name in names:
        assert_complete(fleet, name, trials=4, repeats=2)
    hosts = {entry["host"] for name in names for entry in fleet.journal(name)}
    assert len(hosts) > 1
    until(lambda: fleet.tuner.queue() == [], "an empty queue")


def test_studies_go_on_when_the_database_comes_back(fleet: Fleet, postgresql_server: Any) -> None:
    """It crashes in the middle, and all connections break. Trials whose ends could not be stored are repeated."""
    names = ["s0", "s1", "s2"]
    for name in names:
        fleet.tuner.submit(scripted_study(name, window_s=0.3))
    fleet.start("a", "--at-most", "3")
    until(lambda: all(stored(fleet, name) for name in names), "measuring")
    kept = {name: stored(fleet, name) for name in names}
    postgresql_server.crash()
    time.sleep(2)
    postgresql_server.start()
    until(lambda: all(state(fleet, name) == "done" for name in names), "done", 120)
    for name in names:
        now = stored(fleet, name)
        assert {number: now.get(number) for number in kept[name]} == kept[name], "a result was lost or changed"
        assert_complete(fleet, name, trials=4, repeats=2)
    until(lambda: fleet.tuner.queue() == [], "an empty queue")


def test_a_study_is_taken_over_with_the_default_lease(fleet: Fleet) -> None:
    fleet.start("a", lease_s=20)
    fleet.start("b", lease_s=20)
    fleet.tuner.submit(scripted_study("s", window_s=600))
    until(lambda: fleet.journal("s"), "launched")
    time.sleep(0.5)
    first = fleet.journal("s")[0]["host"]
    fleet.fail(first)
    until(lambda: fleet.journal("s")[-1]["host"] != first, "taken over")


def test_a_stop_reaches_a_trial_on_another_machine(fleet: Fleet) -> None:
    fleet.start("a")
    fleet.tuner.submit(scripted_study("s", window_s=600))
    until(lambda: fleet.journal("s"), "launched")
    assert fleet.tuner.stop("s")
    until(lambda: fleet.journal("s")[-1]["what"] == "released", "released")
    until(lambda: state(fleet, "s") == "stopped", "stopped")
    until(lambda: fleet.tuner.queue() == [], "an empty queue")


def test_a_stop_that_a_failed_machine_did_not_see_ends_the_study(fleet: Fleet) -> None:
    (fleet.folder / "s.freeze").write_text("measuring 1")
    fleet.tuner.submit(scripted_study("s"))
    fleet.start("a")
    until(lambda: fleet.journal("s") and not (fleet.folder / "s.freeze").exists(), "frozen")
    assert fleet.tuner.stop("s")
    fleet.fail("a")
    fleet.start("b")
    until(lambda: fleet.tuner.queue() == [], "an empty queue")
    ended = [event for event in fleet.tuner.events("s") if isinstance(event, autotuner.StudyFinished)]
    why = "stopped by request after its run had died"
    assert [(event.state, event.why) for event in ended] == [("stopped", why)]
    assert state(fleet, "s") == "stopped"
    assert {entry["host"] for entry in fleet.journal("s")} == {"a"}, "nothing was launched again"


def test_a_study_waits_for_its_own_kind_of_machine(fleet: Fleet) -> None:
    """Another one leaves it in the queue, and runs other studies meanwhile."""
    for machine, described in {"a": "8 CPUs", "b": "4 CPUs", "a2": "8 CPUs"}.items():
        (fleet.folder / f"{machine}.machine").write_text(described)
    (fleet.folder / "s.freeze").write_text("stored 1")
    fleet.tuner.submit(scripted_study("s"), priority=9)
    fleet.start("a")
    until(lambda: fleet.journal("s") and not (fleet.folder / "s.freeze").exists(), "frozen")
    fleet.fail("a")
    kept = stored(fleet, "s")
    fleet.start("b")
    until(lambda: fleet.tuner.queue()[0].refusals, "refused")
    fleet.tuner.submit(scripted_study("other"))
    until(lambda: state(fleet, "other") == "done", "the other one is done")
    until(lambda: len(fleet.tuner.queue()) == 1, "it left the queue")
    (entry,) = fleet.tuner.queue()
    assert (entry.study, entry.position) == ("s", 1)
    (why,) = entry.refusals.values()
    assert why == "its stored trials measured something else: machine has changed: it was 8 CPUs, and is 4 CPUs"
    assert fleet.tuner.overview("s").standing == "queued"
    fleet.start("a2")
    until(lambda: state(fleet, "s") == "done", "resumed and done")
    assert {number: stored(fleet, "s")[number] for number in kept} == kept
    assert_complete(fleet, "s", trials=4, repeats=2)
    assert {entry["host"] for entry in fleet.journal("s")} == {"a", "a2"}
    until(lambda: fleet.tuner.queue() == [], "an empty queue")


def test_two_servers_share_studies_and_workers(fleet: Fleet) -> None:
    with fleet.serve("a", "admin") as one, fleet.serve("b", "write") as other:
        until(lambda: len(fleet.tuner.workers()) == 2, "both are workers")
        study = scripted_study("s", window_s=600)
        assert one.post("/api/v1/studies", json={"study": study, "start": True}).status_code == 201
        until(lambda: fleet.journal("s"), "launched")
        (entry,) = other.get("/api/v1/queue").json()
        workers = other.get("/api/v1/workers").json()
        assert {found["worker"]["id"]: found["studies"] for found in workers}[entry["worker_id"]] == ["s"]
        assert other.post("/api/v1/studies/s/start").json()["error"]["kind"] == "conflict"
        assert other.post("/api/v1/studies/s/stop").json() == {"stopping": True}
        until(lambda: fleet.journal("s")[-1]["what"] == "released", "released")
        until(lambda: one.get("/api/v1/studies/s/overview").json()["state"] == "stopped", "stopped")
        until(lambda: one.delete("/api/v1/studies/s").status_code == 204, "released and deleted")


@pytest.mark.parametrize("signals", [1, 2])
def test_a_worker_that_ends_hands_its_study_over(fleet: Fleet, signals: int) -> None:
    """With the first signal, the running trial ends; with the second one, it is cut off at once."""
    fleet.start("a", "--drain", "60s" if signals == 2 else "20s")
    fleet.tuner.submit(scripted_study("s", trials=3, window_s=600 if signals == 2 else 3))
    until(lambda: fleet.journal("s"), "launched")
    for _ in range(signals):
        fleet.signal("a", signal.SIGTERM)
        time.sleep(0.5)
    assert fleet.ended("a") == 0
    (entry,) = fleet.tuner.queue()
    assert (entry.position, entry.attempts, state(fleet, "s")) == (1, 0, "interrupted")
    assert len(stored(fleet, "s")) == (1 if signals == 1 else 0)
    with Store.open(fleet.url) as store:
        assert store.leases.all() == []
        assert store.studies.holder("s") == (True, None)
    (worker,) = fleet.tuner.workers()
    assert (worker.worker.state, worker.alive) == ("ended", False)


def test_a_crash_of_a_study_does_not_end_its_worker(fleet: Fleet) -> None:
    fleet.start("a", "--at-most", "2")
    fleet.tuner.submit(scripted_study("other", window_s=0.5))
    fleet.tuner.submit(scripted_study("s", window_s=0.5))
    until(lambda: fleet.journal("s"), "launched")
    with Store.open(fleet.url) as store:
        (owner,) = (r.owner for r in store.owners.all() if r.owner.id == store.studies.holder("s")[1])
    os.kill(_outside(fleet, owner.pid), signal.SIGKILL)
    for name in ("s", "other"):
        until(lambda name=name: state(fleet, name) == "done", f"{name} done")
        assert_complete(fleet, name, trials=4, repeats=2)


def _outside(fleet: Fleet, inside: int) -> int:
    """The pid, in this namespace, of a process on a machine."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        pids = next((line.split()[1:] for line in text.splitlines() if line.startswith("NSpid:")), [])
        if len(pids) > 1 and pids[-1] == str(inside) and "queued_run" in (status.parent / "cmdline").read_text():
            return int(status.parent.name)
    raise AssertionError(f"no process {inside} on any machine")
