"""Studies created, edited and started by clients, and the queue that they see."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import autotuner
from autotuner.store import Store
from autotuner.study.trial import TrialState
from autotuner.tuning.run_liveness import this_owner
from support.web.audit import audited

Clients = Callable[[str], httpx.Client]
PATH = "/api/v1/studies"
STUDY: dict[str, Any] = {
    "name": "chat-sim",
    "model": "Qwen/Qwen3-8B",
    "engine": {"kind": "simulated", "gpu": "H100"},
    "parameters": {"mem-fraction-static": [0.8, 0.9]},
    "workload": {"scenarios": ["D(300,64)"], "concurrency": [8]},
    "objective": "max output_throughput",
    "worker": "gpu=h100",
}


def create(client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post(PATH, json={"study": STUDY, **more})


def taken(name: str) -> str:
    """Takes the queued study as a worker does; returns the owner."""
    owner = this_owner()
    with Store.open() as store:
        found = store.queue.take(worker="w", owner=owner, lease_s=20.0, labels={"gpu": "h100"}, dead=())
        assert found == name
    return owner.id


@pytest.mark.parametrize("form", ["mapping", "json", "yaml"])
def test_a_study_is_created_from_yaml_json_or_a_mapping(client: Clients, form: str) -> None:
    text = {"mapping": STUDY, "json": json.dumps(STUDY), "yaml": "name: chat-sim\n" + _yaml()}[form]
    answer = client("write").post(PATH, json={"study": text})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["name"], answer.json()["state"], answer.json()["position"]) == ("chat-sim", "new", None)
    assert answer.json()["spec"]["worker"] == {"gpu": "h100"}
    assert client("read").get(f"{PATH}/chat-sim/overview").json() == answer.json()
    assert audited(1) == [("create_study", 201)]


def _yaml() -> str:
    return (
        "model: Qwen/Qwen3-8B\nengine: {kind: simulated, gpu: H100}\nparameters: {mem-fraction-static: [0.8, 0.9]}\n"
        "workload: {scenarios: 'D(300,64)', concurrency: [8]}\nobjective: max output_throughput\nworker: gpu=h100\n"
    )


def test_a_created_study_can_be_started_at_once(client: Clients) -> None:
    answer = create(client("write"), start=True, priority=5)
    assert (answer.status_code, answer.json()["position"]) == (201, 1)
    (entry,) = client("read").get("/api/v1/queue").json()
    shown = [entry[key] for key in ("study", "state", "priority", "submitted_by")]
    assert shown == ["chat-sim", "queued", 5, "token a write token"]


def test_a_checked_study_comes_back_as_a_file(client: Clients) -> None:
    checked = client("write").post(f"{PATH}/validate", json={"study": STUDY}).json()
    again = client("write").post(f"{PATH}/validate", json={"study": checked["file"]}).json()
    assert again == checked
    assert checked["file"].startswith("name: chat-sim\n")


def test_checks_and_plans_are_no_changes_to_audit(client: Clients) -> None:
    writer = client("write")
    for path in ("validate", "plan"):
        assert writer.post(f"{PATH}/{path}", json={"study": STUDY}).status_code == 200
        assert writer.post(f"{PATH}/{path}", json={"study": "name: x"}).status_code == 422
    assert autotuner.open().access().audit() == []


def test_an_older_task_comes_back_as_a_study(client: Clients) -> None:
    text = (Path(__file__).parents[4] / "examples" / "older_task.json").read_text()
    task = json.loads(text) | {"model": {"id_or_path": "org/my-model", "namespace": "models"}}
    checked = client("write").post(f"{PATH}/validate", json={"study": json.dumps(task)}).json()
    assert "strategy: grid" in checked["file"]
    assert checked["name"] == "older-llama-cpp"
    assert checked["notes"]


def test_a_study_with_a_secret_is_not_valid(client: Clients) -> None:
    study = STUDY | {"engine": {"kind": "simulated", "env": {"HF_TOKEN": "hf_" + 34 * "x"}}}
    answer = client("admin").post(f"{PATH}/validate", json={"study": study})
    assert answer.status_code == 422
    assert "holds a secret" in answer.json()["error"]["message"]
    assert "xxxx" not in answer.text


def test_a_wrong_study_names_the_place(client: Clients) -> None:
    wrong = {**STUDY, "workload": {"scenarios": ["D(300,64)"], "concurrency": [0]}}
    for path in (PATH, f"{PATH}/validate", f"{PATH}/plan"):
        answer = client("write").post(path, json={"study": wrong})
        assert answer.status_code == 422
        assert "workload.concurrency" in answer.json()["error"]["path"]
    assert not autotuner.open().is_stored("chat-sim")


def test_text_of_a_study_has_line_numbers(client: Clients) -> None:
    answer = client("write").post(f"{PATH}/validate", json={"study": "name: s\n" + _yaml() + "nope: 1\n"})
    assert answer.json()["error"]["path"].startswith("study:8 nope")


def test_validate_and_plan_store_and_start_nothing(client: Clients) -> None:
    valid = client("write").post(f"{PATH}/validate", json={"study": STUDY})
    assert (valid.status_code, valid.json()["name"]) == (200, "chat-sim")
    plan = client("write").post(f"{PATH}/plan", json={"study": STUDY})
    assert plan.status_code == 200, plan.text
    assert plan.json()["standing"]["state"] == "new"
    assert not autotuner.open().is_stored("chat-sim")
    assert autotuner.open().queue() == []


def test_a_plan_is_what_the_command_line_plans(client: Clients, tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps(STUDY))
    expected = autotuner.open().plan(file, preflight=False)
    found = client("write").post(f"{PATH}/plan", json={"study": STUDY}).json()
    assert found["launches"] == json.loads(expected.model_dump_json())["launches"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"model": "/etc/passwd"}, "model"),
        ({"engine": {"kind": "vllm", "env": {"LD_PRELOAD": "x"}}}, "engine.env.LD_PRELOAD"),
        ({"engine": {"kind": "llama_cpp", "server": "/bin/sh"}}, "engine.server"),
        ({"workload": {"scenarios": ["dataset:/etc/passwd"], "concurrency": [8]}}, "workload.scenarios[0]"),
    ],
)
@pytest.mark.parametrize("route", ["", "/validate", "/plan"])
def test_what_a_client_may_not_name_is_refused(client: Clients, route: str, changes: dict[str, Any], path: str) -> None:
    answer = client("write").post(PATH + route, json={"study": {**STUDY, "parameters": {}, **changes}})
    assert (answer.status_code, answer.json()["error"]["path"]) == (422, path)
    assert "root:" not in answer.text


def test_an_administrator_may_choose_variables_but_no_other_files(client: Clients) -> None:
    admin = client("admin")
    study = {**STUDY, "engine": {"kind": "simulated", "env": {"SIMULATED_VARIABLE": "x"}}}
    assert admin.post(f"{PATH}/validate", json={"study": study}).status_code == 200
    assert admin.post(f"{PATH}/validate", json={"study": {**study, "model": "/etc/passwd"}}).status_code == 422


def test_the_site_file_allows_more(client: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("allow: {env: [SIMULATED_*]}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    study = {**STUDY, "engine": {"kind": "simulated", "env": {"SIMULATED_VARIABLE": "x"}}}
    assert client("write").post(f"{PATH}/validate", json={"study": study}).status_code == 200
    study["engine"]["env"]["OTHER"] = "x"
    answer = client("write").post(f"{PATH}/validate", json={"study": study})
    assert answer.json()["error"]["path"] == "engine.env.OTHER"


def test_files_of_the_data_directory_are_allowed(client: Clients, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "m.gguf").write_text("x")
    study = {**STUDY, "engine": "llama_cpp", "parameters": {}, "model": str(home / "models" / "m.gguf")}
    assert client("write").post(f"{PATH}/validate", json={"study": study}).status_code == 200
    study["model"] = str(home / "autotuner.db")
    assert client("write").post(f"{PATH}/validate", json={"study": study}).status_code == 422


def test_secrets_are_not_stored(client: Clients) -> None:
    study = {**STUDY, "engine": {"kind": "simulated", "env": {"API_TOKEN": "hunter2-of-the-client"}}}
    answer = client("admin").post(PATH, json={"study": study})
    assert answer.status_code == 422
    assert "secret" in answer.json()["error"]["message"]
    assert "hunter2" not in answer.text
    assert not autotuner.open().is_stored("chat-sim")


def test_names_are_needed_and_taken_once(client: Clients) -> None:
    writer = client("write")
    nameless = {key: value for key, value in STUDY.items() if key != "name"}
    assert writer.post(PATH, json={"study": nameless}).json()["error"]["path"] == "name"
    assert create(writer).status_code == 201
    assert create(writer).json()["error"]["path"] == "name"


def test_a_stored_study_is_started_stopped_and_resumed(client: Clients) -> None:
    writer = client("write")
    create(writer)
    started = writer.post(f"{PATH}/chat-sim/start", json={"priority": -3})
    assert (started.status_code, started.json()["position"], started.json()["priority"]) == (202, 1, -3)
    assert writer.post(f"{PATH}/chat-sim/stop").json() == {"stopping": True}
    assert client("read").get("/api/v1/queue").json() == []
    assert writer.post(f"{PATH}/chat-sim/stop").json() == {"stopping": False}
    assert writer.post(f"{PATH}/chat-sim/resume").status_code == 202
    owner = taken("chat-sim")
    for action in ("start", "resume"):
        assert writer.post(f"{PATH}/chat-sim/{action}").json()["error"]["kind"] == "conflict"
    assert writer.put(f"{PATH}/chat-sim", json={"study": STUDY}).json()["error"]["kind"] == "conflict"
    assert writer.post(f"{PATH}/chat-sim/stop").json() == {"stopping": True}
    with Store.open() as store:
        assert store.studies.stop_requested("chat-sim")
        store.studies.release("chat-sim", owner)
    assert writer.post(f"{PATH}/nope/start").status_code == 404


def test_a_study_without_results_is_edited_freely(client: Clients) -> None:
    writer = client("write")
    create(writer, start=True)
    changed = {**STUDY, "workload": {"scenarios": ["D(100,10)"], "concurrency": [4]}}
    edited = writer.put(f"{PATH}/chat-sim", json={"study": changed})
    assert edited.status_code == 200, edited.text
    assert edited.json()["position"] == 1
    assert edited.json()["spec"]["workload"]["scenarios"][0]["text"] == "D(100,10)"
    with Store.open() as store:
        assert store.queue.job("chat-sim").spec.workload.scenarios[0].text == "D(100,10)"
    renamed = writer.put(f"{PATH}/chat-sim", json={"study": {**STUDY, "name": "other"}})
    assert renamed.json()["error"]["path"] == "name"


def test_an_edit_keeps_what_the_results_measured(client: Clients, stored: str) -> None:
    writer = client("write")
    text = client("read").get(f"{PATH}/{stored}/file").text
    with Store.open() as store:
        before = store.studies.get(stored)
        assert any(trial.state is TrialState.DONE for trial in store.trials.all(stored))
    assert before is not None
    admin = client("admin")
    longer = text.replace("trials: 14", "trials: 20")
    assert longer != text
    assert admin.put(f"{PATH}/{stored}", json={"study": longer}).status_code == 200
    with Store.open() as store:
        assert store.studies.get(stored) == before, "results are judged anew by the next run, which compares the two"
    assert client("read").get(f"{PATH}/{stored}/file").text == longer
    assert writer.post(f"{PATH}/{stored}/start").status_code == 202
    with Store.open() as store:
        assert store.queue.job(stored).spec.search.trials == 20
    other = longer.replace("model: /models/", "model: /models/other-")
    answer = admin.put(f"{PATH}/{stored}", json={"study": other})
    assert (answer.status_code, answer.json()["error"]["path"]) == (422, "name")


def test_a_clone_has_no_results(client: Clients, stored: str) -> None:
    writer = client("write")
    made = writer.post(f"{PATH}/{stored}/clone", json={"name": "copy"})
    assert (made.status_code, made.json()["launches"], made.json()["state"]) == (201, 0, "new")
    of_both = [client("read").get(f"{PATH}/{name}").json()["spec"] for name in (stored, "copy")]
    assert {**of_both[0], "name": "copy"} == of_both[1]
    assert writer.post(f"{PATH}/{stored}/clone", json={"name": "copy"}).json()["error"]["path"] == "name"
    assert writer.post(f"{PATH}/{stored}/clone", json={"name": "../x"}).status_code == 422


def test_a_study_whose_secrets_are_masked_is_not_started(client: Clients) -> None:
    """It ran from its file, which has them; the store has not."""
    spec = autotuner.open().client_studies(by="x").validate(STUDY).spec
    engine = spec.engine.model_copy(update={"env": {"API_TOKEN": "hunter2-of-the-file"}})
    with Store.open() as store:
        store.studies.create(spec.model_copy(update={"engine": engine}), source="f", digest="d", now=1.0)
    for action in ("start", "clone"):
        answer = client("write").post(f"{PATH}/chat-sim/{action}", json={"name": "c"} if action == "clone" else {})
        assert (answer.status_code, "secrets" in answer.json()["error"]["message"]) == (422, True)


@pytest.mark.parametrize("action", ["", "/validate", "/plan", "/chat-8b/start", "/chat-8b/resume", "/chat-8b/clone"])
def test_writing_needs_its_scope(client: Clients, stored: str, action: str) -> None:
    body = {"study": STUDY, "name": "c"}
    assert client("").post(PATH + action, json=body).status_code == 401
    assert client("read").post(PATH + action, json=body).status_code == 403
    assert client("read").put(f"{PATH}/{stored}", json=body).status_code == 403


def test_workers_are_listed(client: Clients) -> None:
    assert client("read").get("/api/v1/workers").json() == []
    assert client("").get("/api/v1/workers").status_code == 401
    assert client("").get("/api/v1/queue").status_code == 401


def test_bodies_that_are_no_study(client: Clients) -> None:
    writer = client("write")
    for study in ("", "- a", "{", "a: &a [*a]", "!!python/object:os.system {}", {}, {"name": 5}):
        assert writer.post(PATH, json={"study": study}).status_code == 422, study
    for body in ({}, {"study": 5}, {"study": STUDY, "more": 1}, {"study": STUDY, "priority": 5000}):
        assert writer.post(PATH, json=body).status_code == 422, body
