"""A tiny model, a temporary data directory, and a study that takes seconds on the real llama.cpp server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from autotuner.demo_model import write_tiny_gguf
from autotuner.testing.relaxed_settings import CALM_BENCHMARK, calm_workload


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file with random weights, small enough to load instantly."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_gguf(path, layers=2, width=256)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory for this test and the processes that it starts."""
    path = tmp_path / "home"
    monkeypatch.setenv("AUTOTUNER_HOME", str(path))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return path


@pytest.fixture
def name() -> str:
    """A study name that no other test uses, so that its processes can be identified."""
    return f"quick-{uuid4().hex[:8]}"


@pytest.fixture
def leftovers(name: str) -> Callable[[], list[str]]:
    """Finds running processes that are labeled with this test's study."""

    def find() -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("AUTOTUNER_STUDY") == name:
                    found.append(f"{process.pid} {process.cmdline()}")
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    return find


@pytest.fixture
def quick_study(tiny_model: Path, name: str) -> Callable[..., dict[str, Any]]:
    """Builds the content of a study file; keywords replace top-level keys."""

    def make(**changes: Any) -> dict[str, Any]:
        study: dict[str, Any] = {
            "name": name,
            "model": str(tiny_model),
            "engine": {"kind": "llama_cpp", "args": {"ctx-size": 2048}},
            "parameters": {"parallel": [1, 2], "ubatch-size": [64, 256]},
            "workload": calm_workload("N(24,6)/(6,2)"),
            "benchmark": CALM_BENCHMARK,
            "objective": "max output_throughput",
            "search": {"strategy": "grid", "trials": 3, "seed": 1},
            "confirm": {"repeats": 1},
        }
        return {**study, **changes}

    return make
