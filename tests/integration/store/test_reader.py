"""Read-only access to a local store without SQLAlchemy, compared with the store itself."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autotuner.store import ReadStore, Store, StoreError, UnreadableError, open_to_read, rows
from autotuner.store.reader import SqliteFile
from autotuner.study.owner import Owner
from autotuner.study.trial import TrialState
from autotuner.testing.samples import SampleKind, sample_spec, sample_study

NAMES = ("chat-8b", "none", "a\0b", "\ud800", "damaged", "sparse")


KINDS = (SampleKind.WINNER, SampleKind.FAILURES)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Database with studies, owners of this and of an earlier version, and a study without results.

    Created once, because every commit is synced to the disk.
    """
    path = tmp_path_factory.mktemp("template") / "autotuner.db"
    with Store(path) as store:
        store.owners.register(Owner(id="b", host="h", pid=2, started=1.5, process="p"), 4.5)
        store.owners.register(Owner(id="a", host="h", pid=1, started=1.0), 2.0)
        store.owners.end("a", 3.0)
        for kind in KINDS:
            sample = sample_study(kind)
            spec = sample.spec.model_copy(update={"name": kind.value})
            store.studies.create(spec, source="study.yaml", digest=spec.digest, now=1.0)
            for trial in sample.trials[:5]:
                own = trial.model_copy(update={"study": spec.name})
                store.trials.add(own.model_copy(update={"state": TrialState.RUNNING}), owner_id="a")
                if trial.state.finished:
                    store.trials.finish(own, {"state": trial.state.value})
            store.events.append(spec.name, "trial_proposed", {"left": {"search": 3}}, trial=1, at=2.0)
            store.studies.set_state(spec.name, sample.state, {"why": sample.why, "exit_code": 3}, 3.0)
        for name in ("sparse", "damaged"):
            spec = sample_spec(name)
            store.studies.create(spec, source="x", digest=spec.digest, now=1.0)
        assert store.studies.take("sparse", "b", 5.0, dead=()) is None
        store.studies.set_search_time("sparse", 2.25)
        store.studies.request_stop("sparse")
        assert store.leases.take(["gpu:h:1", "gpu:h:0"], 2, owner_id="b", study="sparse", trial=0, now=5.0)
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


def outcome(call: Callable[[], Any]) -> Any:
    """Result of a call, or its error."""
    try:
        return call()
    except StoreError as error:
        return type(error), str(error)


def outcomes(store: ReadStore) -> list[Any]:
    """Results of all queries, for all studies."""
    names = [*NAMES, *(record.name for record in store.studies.all())]
    return [
        store.owners.all(),
        outcome(store.studies.all),
        unreadable(store),
        store.trials.finished_counts(),
        store.leases.all(),
        [(store.studies.holder(name), store.studies.stop_requested(name)) for name in names if name.isprintable()],
        [(outcome(lambda name=name: store.events.read(name, limit=3)), store.events.last_seq(name)) for name in KINDS],  # type: ignore[misc]
        [outcome(lambda name=name: store.trials.get(name, 1)) for name in KINDS],  # type: ignore[misc]
        [outcome(lambda name=name: store.events.of_trial(name, 1, "trial_proposed")) for name in KINDS],  # type: ignore[misc]
        [outcome(lambda name=name: store.studies.get(name)) for name in names],  # type: ignore[misc]
        [outcome(lambda name=name: store.trials.all(name)) for name in names if name.isprintable()],  # type: ignore[misc]
        [
            outcome(lambda name=name, kind=kind: store.events.last(name, kind))  # type: ignore[misc]
            for name in names
            if name.isprintable()
            for kind in ("trial_proposed", "trial_finished", "none")
        ],
    ]


def unreadable(store: ReadStore) -> list[str]:
    found = list[UnreadableError]()
    store.studies.all(found.append)
    return [str(error) for error in found]


def reader_of(path: Path) -> ReadStore:
    return ReadStore(SqliteFile(path))


def test_reader_sees_what_the_store_sees(filled: Store, path: Path) -> None:
    with reader_of(path) as reader:
        seen = outcomes(reader)
        assert reader.url == filled.url
    assert seen == outcomes(filled)
    assert len(seen[1]) == len(KINDS) + 2
    assert seen[3]


@pytest.mark.parametrize("value", ["", "{", "[]", '{"name": 1}', "null", "\0", b"\xff", 7])
def test_damaged_rows_give_equal_errors(filled: Store, path: Path, value: object) -> None:
    name = filled.studies.all()[0].name
    change(path, "UPDATE studies SET spec = ? WHERE name = 'damaged'", value)
    change(path, "UPDATE trials SET trial = ? WHERE study = ? AND number = 1", value, name)
    change(path, "UPDATE events SET data = ? WHERE study = ? AND kind = 'trial_proposed'", value, name)
    with reader_of(path) as reader:
        seen = outcomes(reader)
    assert seen == outcomes(filled)
    assert len(seen[2]) == 1
    assert "damaged" in seen[2][0]


def test_url_names_the_same_file_for_both(filled: Store, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    with Store.open(url) as store, open_to_read(url) as reader:
        assert not isinstance(reader, Store)
        assert (reader.url, reader.studies.all()) == (store.url, [])


def test_reader_sees_commits_of_running_and_killed_runs(filled: Store, path: Path) -> None:
    with reader_of(path) as reader:
        filled.studies.set_search_time("sparse", 7.5)
        again = reader.studies.get("sparse")
        assert again is not None
        assert again.search_s == 7.5
    killed = path.with_name("killed.db")  # as after a kill: the last commits are only in the journal
    for suffix in ("", "-wal"):
        Path(f"{killed}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    with reader_of(killed) as reader:
        found = reader.studies.get("sparse")
        assert found is not None
        assert found.search_s == 7.5


def test_reader_cannot_write(filled: Store, path: Path) -> None:
    with closing(SqliteFile(path)) as file, pytest.raises(StoreError, match="readonly"):
        file.rows("DELETE FROM studies")
    assert filled.studies.all()


@pytest.mark.parametrize("url", ["postgresql://h/d", "sqlite://", "sqlite:///:memory:", "sqlite:///x.db?timeout=1"])
def test_other_databases_are_left_to_the_store(url: str) -> None:
    assert SqliteFile.of(url) is None


def test_missing_files_and_other_revisions_are_left_to_the_store(tmp_path: Path) -> None:
    path = tmp_path / "autotuner.db"
    url = f"sqlite:///{path}"
    assert SqliteFile.of(url) is None
    assert not path.exists()
    with open_to_read(url) as made:
        assert isinstance(made, Store)
        assert made.studies.all() == []
    with open_to_read(url) as made:
        assert not isinstance(made, Store)
    for revision in ("0001", "9999"):
        change(path, "UPDATE alembic_version SET version_num = ?", revision)
        assert SqliteFile.of(url) is None
    assert rows.HEAD not in {"0001", "9999"}
    path.write_text("not a database" * 1000)
    assert SqliteFile.of(url) is None
    with pytest.raises(StoreError, match="not a database"):
        open_to_read(url)


def test_missing_table_gives_equal_errors(filled: Store, path: Path) -> None:
    change(path, "DROP TABLE events")
    with reader_of(path) as reader:
        assert outcome(lambda: reader.events.last("sparse", "x")) == outcome(lambda: filled.events.last("sparse", "x"))


def test_reading_makes_the_data_directory_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("AUTOTUNER_HOME", str(home))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    for opened in (home, home / "autotuner.db"):
        open_to_read().__exit__(None, None, None)
        opened.chmod(0o755)
        open_to_read().__exit__(None, None, None)
        assert opened.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("others", [(), (3, 5)])
def test_new_events_are_found_without_a_look_at_all_events(path: Path, others: tuple[int, ...]) -> None:
    """Servers ask ten times per second, and a large store has a hundred thousand events."""
    statements = list[tuple[str, dict[str, object]]]()
    with closing(SqliteFile(path)) as file, closing(sqlite3.connect(path)) as database:
        rows_of = file.rows

        def noted(query: str, **values: object) -> list[rows.Row]:
            statements.append((query, values))
            return rows_of(query, **values)

        file.rows = noted  # type: ignore[method-assign]
        ReadStore(file).events.rows_after(2, others, limit=10)
        ((query, values),) = statements
        plan = [str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    assert any("SEARCH events" in step for step in plan)
    assert not any("SCAN events" in step for step in plan)
