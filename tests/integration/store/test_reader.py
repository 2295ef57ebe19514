"""What only looks reads a local store without SQLAlchemy, and sees what the store sees."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autotuner.store import Store, StoreError, open_to_read, rows
from autotuner.store.reader import Reader, Reading
from autotuner.study.owner import Owner
from autotuner.study.trial import TrialState
from autotuner.testing.samples import SampleKind, sample_spec, sample_study

NAMES = ("chat-8b", "none", "a\0b", "\ud800", "damaged", "sparse")


KINDS = (SampleKind.WINNER, SampleKind.FAILURES)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies, owners of this and of an earlier version, and a study without results; made once, since every commit
    reaches the disk."""
    path = tmp_path_factory.mktemp("template") / "autotuner.db"
    with Store(path) as store:
        store.register_owner(Owner(id="b", host="h", pid=2, started=1.5, process="p"), 4.5)
        store.register_owner(Owner(id="a", host="h", pid=1, started=1.0), 2.0)
        store.end_owner("a", 3.0)
        for kind in KINDS:
            sample = sample_study(kind)
            spec = sample.spec.model_copy(update={"name": kind.value})
            store.create_study(spec, source="study.yaml", digest=spec.digest, now=1.0)
            for trial in sample.trials[:5]:
                own = trial.model_copy(update={"study": spec.name})
                store.add_trial(own.model_copy(update={"state": TrialState.RUNNING}), owner_id="a")
                if trial.state.finished:
                    store.finish_trial(own, {"state": trial.state.value})
            store.append(spec.name, "trial_proposed", {"left": {"search": 3}}, trial=1, at=2.0)
            store.set_study_state(spec.name, sample.state, {"why": sample.why, "exit_code": 3}, 3.0)
        for name in ("sparse", "damaged"):
            spec = sample_spec(name)
            store.create_study(spec, source="x", digest=spec.digest, now=1.0)
        assert store.lease_study("sparse", "b", 5.0, dead=()) is None
        store.set_search_time("sparse", 2.25)
    return path


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return shutil.copy(template, tmp_path / "a b#c%20é.db")


@pytest.fixture
def filled(path: Path) -> Iterator[Store]:
    with Store(path) as store:
        yield store


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement, values)
        db.commit()


def answer(call: Callable[[], Any]) -> Any:
    """What a call returns, or its error."""
    try:
        return call()
    except StoreError as error:
        return type(error), str(error)


def answers(store: Reading) -> list[Any]:
    """All that can be asked, of all studies."""
    names = [*NAMES, *(record.name for record in store.studies())]
    return [
        store.owners(),
        answer(store.studies),
        store.unreadable(),
        store.launch_counts(),
        [answer(lambda name=name: store.study(name)) for name in names],  # type: ignore[misc]
        [answer(lambda name=name: store.trials(name)) for name in names if name.isprintable()],  # type: ignore[misc]
        [
            answer(lambda name=name, kind=kind: store.last_event(name, kind))  # type: ignore[misc]
            for name in names
            if name.isprintable()
            for kind in ("trial_proposed", "trial_finished", "none")
        ],
    ]


def reader_of(url: str | Path) -> Reader:
    found = Reader.of(str(url))
    assert found is not None
    return found


def test_the_reader_sees_what_the_store_sees(filled: Store, path: Path) -> None:
    with Reader(path) as reader:
        seen = answers(reader)
        assert reader.url == filled.url
    assert seen == answers(filled)
    assert len(seen[1]) == len(KINDS) + 2
    assert seen[3]


@pytest.mark.parametrize("value", ["", "{", "[]", '{"name": 1}', "null", "\0", b"\xff", 7])
def test_damaged_rows_are_described_alike(filled: Store, path: Path, value: object) -> None:
    name = filled.studies()[0].name
    change(path, "UPDATE studies SET spec = ? WHERE name = 'damaged'", value)
    change(path, "UPDATE trials SET trial = ? WHERE study = ? AND number = 1", value, name)
    change(path, "UPDATE events SET data = ? WHERE study = ? AND kind = 'trial_proposed'", value, name)
    with Reader(path) as reader:
        seen = answers(reader)
    assert seen == answers(filled)
    assert len(seen[2]) == 1
    assert "damaged" in seen[2][0]


def test_a_url_names_the_same_file_for_both(filled: Store, tmp_path: Path) -> None:
    plain = tmp_path / "plain.db"
    with Store.open(f"sqlite:///{plain}") as store, reader_of(f"sqlite:///{plain}") as reader:
        assert (reader.url, reader.studies()) == (store.url, [])


def test_what_a_run_has_committed_is_seen_at_once_and_also_after_it_died(filled: Store, path: Path) -> None:
    with Reader(path) as reader:
        filled.set_search_time("sparse", 7.5)
        again = reader.study("sparse")
        assert again is not None
        assert again.search_s == 7.5
    left = path.with_name("left.db")  # as a killed run leaves it: the last commits are in the journal alone
    for suffix in ("", "-wal"):
        Path(f"{left}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    with Reader(left) as reader:
        found = reader.study("sparse")
        assert found is not None
        assert found.search_s == 7.5


def test_the_reader_cannot_write(filled: Store, path: Path) -> None:
    with Reader(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM studies")


@pytest.mark.parametrize("url", ["postgresql://h/d", "sqlite://", "sqlite:///:memory:", "sqlite:///x.db?timeout=1"])
def test_other_databases_are_left_to_the_store(url: str) -> None:
    assert Reader.of(url) is None


def test_a_missing_file_and_another_revision_are_left_to_the_store(tmp_path: Path) -> None:
    path = tmp_path / "autotuner.db"
    url = f"sqlite:///{path}"
    assert Reader.of(url) is None
    assert not path.exists()
    with open_to_read(url) as made:
        assert isinstance(made, Store)
        assert made.studies() == []
    with open_to_read(url) as made:
        assert isinstance(made, Reader)
    for revision in ("0001", "9999"):
        change(path, "UPDATE alembic_version SET version_num = ?", revision)
        assert Reader.of(url) is None
    assert rows.HEAD not in {"0001", "9999"}
    path.write_text("not a database" * 1000)
    assert Reader.of(url) is None
    with pytest.raises(StoreError, match="not a database"):
        open_to_read(url)


def test_a_table_that_is_gone_is_one_line(filled: Store, path: Path) -> None:
    change(path, "DROP TABLE events")
    with Reader(path) as reader:
        assert answer(lambda: reader.last_event("sparse", "x")) == answer(lambda: filled.last_event("sparse", "x"))


def test_a_data_directory_that_others_can_read_is_closed_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("AUTOTUNER_HOME", str(home))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    for opened in (home, home / "autotuner.db"):
        open_to_read().__exit__(None, None, None)
        opened.chmod(0o755)
        open_to_read().__exit__(None, None, None)
        assert opened.stat().st_mode & 0o077 == 0
