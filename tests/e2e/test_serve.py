"""The server as a process: its address, a request, and its end."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import autotuner

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
