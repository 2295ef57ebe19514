"""Durability: what a killed process stored is kept, and its locks are released."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from autotuner.store import Store
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState

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
