"""A real Prometheus scrapes the server, with the configuration and the alert rules that we ship."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from ruamel.yaml import YAML

import autotuner
from support.stored_samples import store_sample
from support.web.server import serving

FOLDER = Path(__file__).parents[3] / "packaging" / "monitoring"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def scraping(folder: Path, server: str, token: str) -> Iterator[httpx.Client]:
    """A client of a Prometheus with our files; only the interval, the server's port and the token's file differ."""
    config = YAML(typ="safe").load((FOLDER / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    job["static_configs"] = [{"targets": [urlsplit(server).netloc]}]
    (folder / "token").write_text(token)
    job["authorization"]["credentials_file"] = str(folder / "token")
    (folder / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
    shutil.copy(FOLDER / "alerts.yaml", folder)
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'data'}"]
    command = ["prometheus", *options, f"--web.listen-address={address}", "--log.level=warn"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=30) as client:
                yield client
        finally:
            process.terminate()


def until(client: httpx.Client, path: str, wanted: str) -> Any:
    """The data of a path as soon as it contains a text."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = client.get(path)
            if wanted in answer.text:
                return answer.json()["data"]
        except httpx.TransportError:
            answer = None
        assert time.monotonic() < deadline, answer and answer.text
        time.sleep(0.2)


@pytest.fixture
def prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """One that has scraped a server over a store with studies."""
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed (apt install prometheus)")
    home = tmp_path / "home"
    monkeypatch.setenv("AUTOTUNER_HOME", str(home))
    store_sample("winner")
    token = autotuner.open().access().create("prometheus").secret
    with serving(home) as server, scraping(tmp_path, server.url, token) as client:
        until(client, "/api/v1/query?query=autotuner_studies", '"result":[{')
        yield client


def test_it_scrapes_the_server_and_evaluates_rules_and_dashboard(prometheus: httpx.Client) -> None:
    (target,) = prometheus.get("/api/v1/targets").json()["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    (group,) = until(prometheus, "/api/v1/rules", '"lastEvaluation":"2')["groups"]
    until(prometheus, "/api/v1/rules", '"health":"ok"')
    names = [
        rule["alert"] for rule in YAML(typ="safe").load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    ]
    assert [rule["name"] for rule in group["rules"]] == names
    assert {rule["lastError"] for rule in group["rules"] if "lastError" in rule} <= {""}
    done = prometheus.get("/api/v1/query", params={"query": 'autotuner_studies{state="done"}'}).json()["data"]["result"]
    assert [series["value"][1] for series in done] == ["1"]
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 15
    for query in queries:
        text = query.replace("$job", ".+").replace("$instance", ".+").replace("$__rate_interval", "1m")
        assert "$" not in text
        answer = prometheus.get("/api/v1/query", params={"query": text}).json()
        assert answer["status"] == "success", (query, answer)


def test_promtool_accepts_the_rules() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (apt install prometheus)")
    done = subprocess.run(["promtool", "check", "rules", FOLDER / "alerts.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
