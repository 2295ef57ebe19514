"""Durability: what a killed process stored is kept, and its locks are released."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from autotuner.store import Store, StoreError
from autotuner.study.configuration import DEFAULT
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.samples import sample_spec

HAMMER = Path(__file__).with_name("hammer.py")


def test_kill_after_a_call_has_returned(url: str, store: Store, add_study: Callable[..., StudySpec]) -> None:
    add_study()
    for run in range(2):
        ran = subprocess.run([sys.executable, str(HAMMER), url, "finish and die"], capture_output=True, timeout=120)
        assert ran.returncode == -9, ran.stderr
        assert [t.state for t in store.trials.all("s")] == [TrialState.DONE] * (run + 1)
        assert [e.kind for e in store.events.read("s")] == ["trial_finished", "notice"] * (run + 1)
        assert len(store.leases.all()) == 1


def test_kill_within_a_transaction(
    url: str, store: Store, add_study: Callable[..., StudySpec], new_trial: Callable[..., Trial]
) -> None:
    """The transaction is rolled back, and its lock does not block the next writer."""
    add_study()
    script = f"""
import os
from autotuner.store import Store
from autotuner.store.database import lock_study
store = Store.open({url!r})
with store.database.writing() as db:
    lock_study(db, "s")
    store.events.append_in(db, "s", "notice", {{}}, trial=None, at=1.0)
    os.kill(os.getpid(), 9)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    assert ran.returncode == -9, ran.stderr
    assert store.events.read("s") == []
    assert store.trials.add(new_trial(), owner_id="o").number == 0


def test_sqlite_syncs_every_commit(tmp_path: Path) -> None:
    """A test cannot cut the power, but it can check the settings of every connection that survive it."""
    with Store.open(f"sqlite:///{tmp_path / 'autotuner.db'}") as store:
        for open_ in (store.database.reading, store.database.writing):
            with open_() as connection:
                pragmas = [connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous")]
                assert pragmas == ["wal", 2]
                assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.postgresql
@pytest.mark.parametrize("patience_s", [0.0, 30.0])
def test_a_result_is_stored_though_its_connection_breaks(postgresql_url: str, patience_s: float) -> None:
    """The server ends the connection while the transaction waits for a lock."""
    spec = sample_spec("s")
    with Store.open(postgresql_url) as store, psycopg.connect(postgresql_url) as locking:
        store.wait_for_database(patience_s)
        store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
        running = Trial(study="s", number=-1, role=TrialRole.DEFAULT, configuration=DEFAULT, state=TrialState.RUNNING)
        added = store.trials.add(running, owner_id="me")
        done = added.model_copy(update={"state": TrialState.DONE, "finished_at": 2.0})
        locking.execute("SELECT 1 FROM studies WHERE name = 's' FOR UPDATE")
        with ThreadPoolExecutor(1) as other, psycopg.connect(postgresql_url, autocommit=True) as admin:
            finishing = other.submit(store.trials.finish, done, {})
            waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not admin.execute(waiting).fetchall():
                assert not finishing.done()
            locking.rollback()
            if patience_s:
                finishing.result(60)
            else:
                with pytest.raises(StoreError):
                    finishing.result(60)
        stored = store.trials.get("s", 0)
        assert stored is not None
        assert stored.state is (TrialState.DONE if patience_s else TrialState.RUNNING)
        assert len(store.events.read("s")) == (1 if patience_s else 0)


@pytest.mark.postgresql
def test_a_result_that_was_stored_before_its_connection_broke_is_not_stored_twice(
    postgresql_url: str,
) -> None:
    spec = sample_spec("s")
    with Store.open(postgresql_url) as store:
        store.wait_for_database(30)
        store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
        running = Trial(study="s", number=-1, role=TrialRole.DEFAULT, configuration=DEFAULT, state=TrialState.RUNNING)
        added = store.trials.add(running, owner_id="me")
        done = added.model_copy(update={"state": TrialState.DONE, "finished_at": 2.0})
        store.trials.finish(done, {})
        store.trials.finish(done, {})
        assert len(store.events.read("s")) == 1
        with pytest.raises(StoreError, match="already ended"):
            store.trials.finish(done.model_copy(update={"finished_at": 3.0}), {})
