"""What `/metrics` says, against what is in the store and what the server did."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

import autotuner
from autotuner.store import Store
from autotuner.store.records import WorkerRecord
from autotuner.tuning.run_liveness import this_owner
from support.stored_samples import store_sample

Clients = Callable[[str], httpx.Client]
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {(s.name, frozenset(s.labels.items())): s.value for family in plain(text) for s in family.samples}


def value(text: str, name: str, labels: Mapping[str, str] | None = None) -> float:
    return samples(text)[name, frozenset((labels or {}).items())]


def test_the_store_in_numbers(client: Clients, home: Path) -> None:
    sample = store_sample("winner")
    failing = store_sample("failures")
    with Store.open() as store:
        worker = WorkerRecord(id="w1", host="node-1", pid=1, at_most=3, lease_s=20)
        store.workers.register(worker)
        store.workers.register(worker.replaced(id="w2", lease_s=0.0))  # silent for longer than that at once
        store.leases.take(["gpu:GPU-1", "gpu:GPU-2"], 2, owner_id="o", study="s", trial=1, now=0.0)
    text = client("read").get("/metrics").text
    assert value(text, "autotuner_studies", {"state": "done"}) == 1
    assert value(text, "autotuner_studies", {"state": "interrupted"}) == 1
    assert value(text, "autotuner_studies", {"state": "cut off"}) == 0
    for state in ("done", "failed", "void"):
        stored = [trial for one in (sample, failing) for trial in one.trials if trial.state.value == state]
        found = [
            n
            for (name, labels), n in samples(text).items()
            if name == "autotuner_trials" and ("state", state) in labels
        ]
        assert sum(found) == len(stored)
    causes = {trial.failure.cause.value for trial in failing.trials if trial.failure is not None}
    assert causes
    assert causes <= {label[1] for _, labels in samples(text) for label in labels if label[0] == "cause"}
    assert value(text, "autotuner_workers", {"state": "running"}) == 1
    assert value(text, "autotuner_workers", {"state": "lost"}) == 1
    assert value(text, "autotuner_worker_slots") == 3
    assert value(text, "autotuner_workers_busy") == 0
    assert value(text, "autotuner_worker_heartbeat_age_seconds", {"worker": "w1", "host": "node-1"}) < 20
    assert value(text, "autotuner_leases", {"kind": "gpu"}) == 2
    assert value(text, "autotuner_queue_length") == value(text, "autotuner_queue_oldest_age_seconds") == 0
    assert value(text, "autotuner_queue_without_worker") == 0
    assert value(text, "autotuner_build_info", {"version": autotuner.__version__}) == 1


def test_requests_are_counted_by_route(client: Clients, stored: str) -> None:
    reader = client("read")
    for _ in range(3):
        reader.get(f"/api/v1/studies/{stored}/overview")
    reader.get("/nothing/here")
    client("").get("/api/v1/studies")
    reader.get("/healthz", headers={"Host": "evil.example"})
    reader.request("PATCH", "/healthz")
    with reader.stream("GET", f"/api/v1/studies/{stored}/events") as answer:
        lines = answer.iter_lines()
        while not next(lines).startswith("data:"):
            pass
        text = reader.get("/metrics").text
        assert value(text, "autotuner_event_streams") == 1
    overview = {"method": "GET", "route": "/api/v1/studies/{name}/overview"}
    assert value(text, "autotuner_http_requests_total", {**overview, "status": "200"}) == 3
    assert value(text, "autotuner_http_request_duration_seconds_count", overview) == 3
    assert value(text, "autotuner_http_requests_total", {"method": "GET", "route": "other", "status": "404"}) == 1
    assert value(text, "autotuner_http_requests_total", {"method": "GET", "route": "other", "status": "421"}) == 1
    assert (
        value(text, "autotuner_http_requests_total", {"method": "GET", "route": "/api/v1/studies", "status": "401"})
        == 1
    )
    assert "PATCH" not in text
    assert stored not in text
    assert value(text, "autotuner_event_loop_delay_seconds_count") > 0
    assert value(text, "process_resident_memory_bytes") > 1 << 20


def test_both_formats_are_valid(client: Clients, stored: str) -> None:
    reader = client("read")
    answer = reader.get("/metrics", headers=OPEN_METRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in open_metrics(answer.text)}
    answer = reader.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    ours = {family.name for family in plain(answer.text)}
    assert ours == names
    for family in plain(answer.text):
        assert family.documentation
        assert family.name.startswith(("autotuner_", "process_"))
        assert family.type != "untyped"


def test_a_running_study_has_its_gain_and_progress(client: Clients, stored: str) -> None:
    overview = autotuner.open().overview(stored)
    owner = this_owner()
    with Store.open() as store:
        store.owners.register(owner)
        store.studies.take(stored, owner.id, 0.0, dead=())
        store.studies.set_state(stored, "running", None, 0.0)
    text = client("read").get("/metrics").text
    assert value(text, "autotuner_studies", {"state": "running"}) == 1
    assert value(text, "autotuner_running_study_launches", {"study": stored}) == overview.launches
    change = overview.answer.change
    assert change is not None
    assert value(text, "autotuner_running_study_gain_ratio", {"study": stored}) == pytest.approx(abs(change))


IDENTIFIED = """\
import sys
from autotuner.store.process_identity import ProcessIdentity
print(ProcessIdentity.of_this_process().text, flush=True)
sys.stdin.read()
"""


def states_of(reader: httpx.Client, study: str, number: int) -> set[str]:
    """The state of a trial, wherever the API says it."""
    path = f"/api/v1/studies/{study}"
    (row,) = [one for one in reader.get(f"{path}/details").json()["trials"] if one["number"] == number]
    found = {row["state"], reader.get(f"{path}/trials/{number}").json()["trial"]["state"]}
    for query in ("", "?state=running", "?state=void"):
        trials = [*reader.get(f"{path}/trials{query}").json()["items"]]
        found |= {trial["state"] for trial in trials if trial["number"] == number}
    trials = reader.get(path).json()["trials"]
    return found | {trial["state"] for trial in trials if trial["number"] == number}


def test_a_killed_run_of_this_machine_is_not_running(
    client: Clients, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autotuner.server.monitoring.metrics.KEPT_S", 0.0)
    reader = client("read")
    void_trials = ("autotuner_trials", {"state": "void", "cause": ""})
    with subprocess.Popen(
        [sys.executable, "-c", IDENTIFIED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        owner = this_owner().replaced(pid=process.pid, process=process.stdout.readline().strip())
        with Store.open() as store:
            store.owners.register(owner)
            store.studies.take(stored, owner.id, 0.0, dead=())
            store.studies.set_state(stored, "running", None, 0.0)
            trial = store.trials.get(stored, 0)
            assert trial is not None
            number = store.trials.add(trial.replaced(state="running", finished_at=None), owner_id=owner.id).number
            store.events.append(stored, "trial_proposed", {"role": "default"}, trial=number, at=1.0)
        assert value(reader.get("/metrics").text, "autotuner_studies", {"state": "running"}) == 1
        assert states_of(reader, stored, number) == {"running"}
        void = value(reader.get("/metrics").text, *void_trials)
        process.kill()
    assert states_of(reader, stored, number) == {"void"}
    text = reader.get("/metrics").text
    assert value(text, *void_trials) == void + 1
    assert value(text, "autotuner_trials", {"state": "running", "cause": ""}) == 0
    assert value(text, "autotuner_studies", {"state": "running"}) == 0
    assert value(text, "autotuner_studies", {"state": "cut off"}) == 1
    assert "autotuner_running_study_launches{" not in text


def test_it_is_read_like_all_results(client: Clients) -> None:
    assert client("").get("/metrics").status_code == 401
    assert client("read").get("/metrics").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/", "/studies", "/studies/x", "/sign-in"])
def test_probes_may_ask_for_the_head_only(client: Clients, path: str) -> None:
    reader = client("read")
    head = reader.head(path)
    whole = reader.get(path)
    assert head.status_code == whole.status_code
    assert head.content == b""
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert client("").head("/metrics").status_code == 401
