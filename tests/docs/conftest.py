"""Access to the project's pages, and a small model for what they run."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from autotuner.demo_model import write_tiny_gguf

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fenced() -> Callable[[str, str], list[str]]:
    """Returns the fenced blocks of a page in one language, in order."""

    def find(page: str, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)

    return find


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file with random weights that loads instantly."""
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf", layers=2, width=256)


@pytest.fixture
def workplace(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working and data directory, with the model under the name that the pages use."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    folder = tmp_path / "work"
    (folder / "models").mkdir(parents=True)
    os.link(tiny_model, folder / "models" / "my-model.gguf")
    monkeypatch.chdir(folder)
    return folder
