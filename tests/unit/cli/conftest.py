"""The command, run in this process with a home of its own."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from autotuner.cli.main import main
from autotuner.store import Store
from autotuner.study.owner import Owner
from autotuner.study.trial import TrialState
from autotuner.testing.samples import Sample, sample_study
from autotuner.tuning.owners import this_owner


class Said(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output, as JSON and nothing else."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session", autouse=True)
def built_once() -> Iterator[None]:
    """Typer builds all commands anew at each call, which takes longer than most of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs the command in this process."""

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["autotuner", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def keep() -> Callable[..., Sample]:
    """Stores the sample of a kind, as its run would have."""

    def store_it(kind: str, *, owner: Owner | None = None) -> Sample:
        sample = sample_study(kind)
        spec = sample.spec
        owned_by = owner or this_owner()
        with Store.open() as store:
            store.studies.create(spec, source="study.yaml", digest=spec.digest, now=1.0)
            store.events.append(spec.name, "study_started", {"trials": 14, "parameters": ["a"], "proof": 6}, at=1.0)
            for trial in sample.trials:
                store.trials.add(trial.model_copy(update={"state": TrialState.RUNNING}), owner_id=owned_by.id)
                data = {"role": trial.role.value, "values": dict(trial.configuration.values), "repeat_of": None}
                store.events.append(spec.name, "trial_proposed", data, trial=trial.number, at=2.0)
                if trial.state.finished:
                    store.trials.finish(trial, {"state": trial.state.value, "windows": []})
            store.studies.set_state(spec.name, sample.state, {"why": sample.why}, 3.0)
            if sample.state != "running":
                store.events.append(spec.name, "study_finished", {"state": sample.state, "why": sample.why}, at=3.0)
            if owner is not None:
                store.owners.register(owner, time.time())
                assert store.studies.take(spec.name, owner.id, time.time(), dead=()) is None
        return sample

    return store_it
