"""Simulated servers as processes of their own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

FLAGS = {
    "sglang": ("--model-path", "Llama-3.1-8B", "--enable-metrics"),
    "vllm": ("Llama-3.1-8B",),
}


@dataclass
class Server:
    """One running server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, timeout=30)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers=headers, trust_env=False, timeout=30)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server and waits until it answers; all are ended after the test."""
    started: list[Server] = []

    def begin(flavor: str = "sglang", *own: str, flags: tuple[str, ...] = (), **environment: str) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = tmp_path / f"{len(started)}.log"
        argv = [sys.executable, "-m", "autotuner.simulator", "--flavor", flavor, *own, *FLAGS[flavor], *flags]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*argv, "--host", "127.0.0.1", "--port", str(port)], stderr=out, env={**os.environ, **environment}
            )
        server = Server(f"http://127.0.0.1:{port}", process, log)
        started.append(server)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if server.get("/health").status_code == 200:
                    return server
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(log.read_text())

    yield begin
    for server in started:
        server.process.kill()
        server.process.wait(10)
