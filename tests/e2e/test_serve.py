"""The server as a process: its address, a request, and its end."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import autotuner
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload
from support.web.server import serving

COMMAND = [sys.executable, "-m", "autotuner"]


@pytest.mark.parametrize("ends_it", [signal.SIGINT, signal.SIGTERM])
def test_the_server_answers_and_ends_cleanly(tmp_path: Path, ends_it: signal.Signals) -> None:
    store = f"sqlite:///{tmp_path}/autotuner.db"
    secret = autotuner.open(store).access().create("ci").secret
    environment = {**os.environ, "AUTOTUNER_HOME": str(tmp_path / "home")}
    command = [*COMMAND, "serve", "--port", "0", "--store", store]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            found = re.match(r"API: (http://127\.0\.0\.1:\d+)/api/v1 ", server.stderr.readline())
            assert found is not None
            ui = server.stderr.readline()
            assert re.match(rf"Web UI: {found[1]}/sign-in#code=[\w-]+ \(signs|the web UI is not part of this", ui)
            headers = {"Authorization": f"Bearer {secret}"}
            with httpx.Client(base_url=found[1], headers=headers, trust_env=False, timeout=60) as client:
                assert client.get("/api/v1/about").json()["token"] == "ci"
        finally:
            server.send_signal(ends_it)
        assert server.wait(60) == 0
        assert server.stderr.read() == ""


def test_the_command_line_drives_a_server(tmp_path: Path) -> None:
    file = tmp_path / "far.yaml"
    file.write_text(
        json.dumps(
            {
                "name": "far",
                "model": "Qwen/Qwen3-8B",
                "engine": {"kind": "simulated", "flavor": "sglang", "gpu": "RTX-4090", "speed": 3.0},
                "parameters": {"max-running-requests": [8, 32]},
                "workload": calm_workload(),
                "benchmark": dict(CALM_BENCHMARK),
                "objective": "max output_throughput",
                "search": {"strategy": "grid", "trials": 2},
                "confirm": {"repeats": 0},
            }
        )
    )
    here = {**os.environ, "AUTOTUNER_HOME": str(tmp_path / "here")}
    with serving(tmp_path / "there") as server:
        store = f"sqlite:///{server.home}/autotuner.db"
        here["AUTOTUNER_TOKEN"] = autotuner.open(store).access().create("ci", "write").secret

        def run(*words: str) -> str:
            command = [*COMMAND, "--server", server.url, *words]
            done = subprocess.run(command, env=here, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        assert json.loads(run("plan", str(file), "--json"))["trials"] == 2
        result = json.loads(run("run", str(file), "--json"))
        assert (result["state"], len(result["trials"])) == ("done", 2)
        assert json.loads(run("show", "far", "--json")) == result
        assert "Prefill batch" in run("logs", "far", "0", "--lines", "100000")
    assert not (tmp_path / "here").exists(), "all of it is on the server"
