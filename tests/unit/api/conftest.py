"""A data directory with a stored study, and a running server."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.stored_samples import store_sample


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory and a working directory for each test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AUTOTUNER_HOME", str(folder))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


@pytest.fixture
def stored(home: Path) -> str:
    """The name of a finished study with a proven winner and a server's log."""
    sample = store_sample("winner")
    folder = home / "studies" / sample.spec.name / "trials" / f"{sample.trials[-1].number:04d}"
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("a line\n")
    return sample.spec.name


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a server that answers immediately."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "autotuner.testing.fake_server", "--port", str(port), "--model", "my-model"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server, httpx.Client(trust_env=False) as client:
        try:
            while server.poll() is None:
                try:
                    client.get(f"{url}/health")
                    break
                except httpx.ConnectError:
                    continue
            yield url
        finally:
            server.terminate()


@pytest.fixture
def study(server_url: str) -> dict[str, object]:
    """A study that measures the running server once and ends quickly."""
    return {
        "name": "my-study",
        "model": "my-model",
        "engine": "llama_cpp",
        "deploy": {"kind": "external", "url": server_url},
        "workload": {"scenarios": "D(8,4)", "concurrency": 1, "warmup": "0s", "duration": "1s", "requests": 2},
        "objective": "max output_throughput",
        "confirm": {"repeats": 0},
    }


@pytest.fixture
def study_file(study: dict[str, object]) -> Path:
    """The study as a file in the working directory."""
    path = Path("study.yaml")
    path.write_text(json.dumps(study))
    return path
