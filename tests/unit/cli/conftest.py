"""The command, run in this process with a home of its own."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from autotuner.cli.main import main
from autotuner.testing.samples import Sample
from support.stored_samples import store_sample


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Stdout, parsed as a JSON document."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session", autouse=True)
def built_once() -> Iterator[None]:
    """Keeps Typer from building all commands again for each call, which takes longer than most of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., CommandResult]:
    """Runs the command in this process."""

    def run(*words: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["autotuner", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        done = capsys.readouterr()
        return CommandResult(int(ended.value.code or 0), done.out, done.err)

    return run


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background jobs start with SIGINT ignored, and so would what this test starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def store_study() -> Callable[..., Sample]:
    """Stores a sample study as its run would have stored it."""
    return store_sample
