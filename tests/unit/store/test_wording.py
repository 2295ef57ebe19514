"""User-visible wordings of the store's errors."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.store import Store, StoreError, rows
from autotuner.study.configuration import DEFAULT
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.samples import sample_spec


def error_of(call: Callable[[], object], folder: Path) -> str:
    with pytest.raises(StoreError) as caught:
        call()
    return f"{caught.value.message}; {caught.value.remedy}".replace(str(folder), "FOLDER").removesuffix("; ")


def test_urls(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    (tmp_path / "notes.txt").write_text("not a database" * 1000)
    urls = [
        "mysql://user:hunter2@h/none",
        "postgresql://user:hunter2@127.0.0.1:no-port/none",
        "sqlite:///:memory:",
        f"sqlite:///{tmp_path}",
        f"sqlite:///{tmp_path}/notes.txt",
        f"sqlite:///{tmp_path}/notes.txt/below/autotuner.db",
    ]
    assert [error_of(lambda url=url: Store.open(url), tmp_path) for url in urls] == snapshot  # type: ignore[misc]


@pytest.mark.parametrize("revision", ["9999", "e3246e0f1a2b"])
def test_revisions(tmp_path: Path, revision: str, snapshot: SnapshotAssertion) -> None:
    path = tmp_path / "autotuner.db"
    Store.open(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    message = error_of(lambda: Store.open(f"sqlite:///{path}"), tmp_path)
    assert message.replace(rows.HEAD, "HEAD") == snapshot


def test_studies_and_trials(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    spec = sample_spec("s")
    new = Trial(study="s", number=-1, role=TrialRole.SEARCH, configuration=DEFAULT, state=TrialState.RUNNING)
    with Store.open(f"sqlite:///{tmp_path / 'autotuner.db'}") as store:
        store.studies.create(spec, source="test", digest=spec.digest, now=1.0)
        trial = store.trials.add(new, owner_id="o").replaced(state=TrialState.DONE, finished_at=2.0)
        store.trials.finish(trial, {})
        calls: list[Callable[[], object]] = [
            lambda: store.studies.create(spec, source="test", digest=spec.digest, now=1.0),
            lambda: store.trials.add(new.replaced(study="none"), owner_id="o"),
            lambda: store.trials.finish(trial, {}),
        ]
        assert [error_of(call, tmp_path) for call in calls] == snapshot
