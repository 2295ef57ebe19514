"""Fixtures of the tests of genai-bench."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from autotuner.benchmarks.genai_bench.benchmark import COMMAND_VARIABLE


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tokenizer that makes every word one token."""
    words = Tokenizer(WordLevel({"?": 0, "x": 1, **{str(n): n for n in range(2, 99)}}, unk_token="?"))
    words.pre_tokenizer = Whitespace()
    folder = tmp_path_factory.mktemp("tokenizer")
    words.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Parent of the worker's folder; it must be empty after every test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv(COMMAND_VARIABLE, raising=False)
    yield folder
    assert list(folder.iterdir()) == []
