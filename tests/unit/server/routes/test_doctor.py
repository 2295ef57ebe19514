"""Checks of the server's machine, of targets and of what stored studies need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import autotuner

Clients = Callable[[str], httpx.Client]
PATH = "/api/v1/doctor"
STUDY: dict[str, Any] = {
    "name": "chat-sim",
    "model": "Qwen/Qwen3-8B",
    "engine": {"kind": "simulated", "gpu": "H100"},
    "parameters": {"mem-fraction-static": [0.8, 0.9]},
    "workload": {"scenarios": ["D(300,64)"], "concurrency": [8]},
    "objective": "max output_throughput",
}
NOWHERE = {"docker_host": "tcp://127.0.0.1:1"}


def outcomes(checks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(check["name"], check["status"]) for check in checks]


def test_the_checks_are_those_of_the_command(client: Clients) -> None:
    answer = client("write").post(PATH, json={})
    assert answer.status_code == 200, answer.text
    expected = autotuner.open().doctor()
    assert outcomes(answer.json()["checks"]) == [(check.name, check.status) for check in expected.checks]
    assert (answer.json()["deploy"], answer.json()["study"]) == ("process", None)
    assert autotuner.open().access().audit() == []


def test_the_checks_of_a_study(client: Clients) -> None:
    writer = client("write")
    writer.post("/api/v1/studies", json={"study": STUDY})
    answer = writer.post("/api/v1/studies/chat-sim/doctor").json()
    expected = autotuner.open().doctor(STUDY)
    assert outcomes(answer["checks"]) == [(check.name, check.status) for check in expected.checks]
    assert (answer["study"], len(answer["checks"]) > 3) == ("chat-sim", True)
    assert writer.post("/api/v1/studies/missing/doctor").status_code == 404


def test_the_checks_of_a_file_that_is_not_stored(client: Clients) -> None:
    writer = client("write")
    answer = writer.post("/api/v1/studies/doctor", json={"study": STUDY}).json()
    expected = autotuner.open().doctor(STUDY)
    assert outcomes(answer["checks"]) == [(check.name, check.status) for check in expected.checks]
    assert (answer["study"], autotuner.list_studies()) == ("chat-sim", [])
    refused = writer.post("/api/v1/studies/doctor", json={"study": {**STUDY, "model": "/etc/passwd"}})
    assert (refused.status_code, refused.json()["error"]["path"]) == (422, "model")


def test_each_deployer_can_be_named(client: Clients) -> None:
    kinds = client("read").get("/api/v1/deployers").json()
    assert kinds[0] == "process"
    assert {"docker", "kubernetes", "ome", "external"} < set(kinds)
    unknown = client("write").post(PATH, json={"deploy": "dokcer"})
    assert (unknown.status_code, unknown.json()["error"]["path"]) == (422, "deploy.kind")
    assert "docker" in unknown.json()["error"]["hint"]


def test_only_administrators_choose_what_is_reached(
    client: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"deploy": "docker", "settings": NOWHERE}
    refused = client("write").post(PATH, json=wanted)
    assert (refused.status_code, refused.json()["error"]["path"]) == (422, "deploy.docker_host")
    assert "only an administrator" in refused.text
    found = client("admin").post(PATH, json=wanted)
    assert "fail" in {check["status"] for check in found.json()["checks"]}, found.text
    assert all(check["remedy"] for check in found.json()["checks"] if check["status"] == "fail")
    site = tmp_path / "site.yaml"
    site.write_text("allow: {settings: [deploy.docker.docker_host]}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    assert client("write").post(PATH, json=wanted).status_code == 200


def test_harmless_and_invalid_settings(client: Clients) -> None:
    writer = client("write")
    assert writer.post(PATH, json={"settings": {"stop_grace": "3s"}}).status_code == 200
    wrong = writer.post(PATH, json={"settings": {"stop_grace": "soon"}})
    assert (wrong.status_code, wrong.json()["error"]["path"]) == (422, "deploy.stop_grace")
    assert client("admin").post(PATH, json={"settings": {"stop_grase": "3s"}}).status_code == 422
    assert writer.post(PATH, json={"setting": {}}).status_code == 422
