"""Opening a store: creation, migrations, and errors, which have one line and no password."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from autotuner.store import OwnerRecord, Store, StoreError, rows, tables
from autotuner.store import connection as store_connection
from autotuner.store.migrations.migrate import migrate
from autotuner.study.measurement import GpuUse
from autotuner.study.owner import Owner
from autotuner.study.search.evidence import NO_EVIDENCE
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.testing.samples import sample_study
from support.studies.old_stores import without_lists

HAMMER = Path(__file__).with_name("hammer.py")


def refusal(url: str) -> str:
    """The error of a store that cannot be opened; always one line."""
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def empty(engine: Engine) -> None:
    """Removes all tables."""
    tables.metadata.drop_all(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))


def schema(engine: Engine) -> dict[str, object]:
    """All tables with their columns, keys and indices, whose order does not matter."""
    found = inspect(engine)

    def text_of(value: object) -> str:
        if isinstance(value, Mapping):
            return str(sorted((key, text_of(item)) for key, item in value.items()))
        return str(value)

    def texts(items: Sequence[Mapping[str, Any]]) -> list[str]:
        return sorted(map(text_of, items))

    return {
        name: (
            texts(found.get_columns(name)),
            found.get_pk_constraint(name)["constrained_columns"],
            texts(found.get_foreign_keys(name)),
            texts(found.get_unique_constraints(name)),
            texts(found.get_check_constraints(name)),
            texts(found.get_indexes(name)),
        )
        for name in found.get_table_names()
    }


def test_migrations_create_the_tables_of_a_new_store(store: Store) -> None:
    engine = store.database._engine
    new = schema(engine)
    empty(engine)
    with engine.begin() as connection:
        migrate(connection)
        options = {"compare_type": True, "compare_server_default": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata)
    assert differences == []
    assert schema(engine) == new


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(store_connection.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [rows.HEAD]


def test_owners_of_revision_1_are_read(url: str) -> None:
    plain = store_connection.connect(url)
    empty(plain)
    with plain.begin() as connection:
        migrate(connection, "0001")
        connection.execute(text("INSERT INTO owners VALUES ('a', 'h', 7, 2.5, 3.5, NULL)"))
    plain.dispose()
    with Store.open(url) as store:
        (record,) = store.owners.all()
        assert record == OwnerRecord(owner=Owner(id="a", host="h", pid=7, started=2.5), heartbeat_at=3.5)
        assert record.owner.process == ""


def drop(connection: Connection, *columns: str) -> None:
    """Takes the database back to a revision before that of the tokens, without these columns of ``studies``."""
    without_lists(connection)
    for table in (tables.queue, tables.workers, tables.tokens, tables.audit):
        table.drop(connection)
    connection.execute(text("ALTER TABLE owners DROP COLUMN lease_s"))
    columns = (*columns, "draft")
    for column in columns:
        connection.execute(text(f"ALTER TABLE studies DROP COLUMN {column}"))


def test_studies_of_revision_5_began_without_earlier_ones(
    url: str, store: Store, add_study: Callable[..., StudySpec]
) -> None:
    add_study()
    with store.database._engine.begin() as connection:
        drop(connection, "beginning", "evidence")
        connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    with Store.open(url) as again:
        record = again.studies.get("s")
        assert record is not None
        assert record.beginning is None
        assert again.studies.evidence("s") == NO_EVIDENCE


def test_gpu_use_of_revision_3_is_read(
    url: str, store: Store, add_study: Callable[..., StudySpec], new_trial: Callable[..., Trial]
) -> None:
    add_study()
    measured = next(m for trial in sample_study("several").trials for m in trial.measurements)
    use = GpuUse(samples=3, utilization=0.5)
    trial = new_trial(measurements=(measured.model_copy(update={"gpu_use": use}),))
    store.trials.add(trial, owner_id="a")
    with store.database._engine.begin() as connection:
        connection.execute(text("UPDATE trials SET trial = REPLACE(trial, 'utilization', 'utilisation')"))
        drop(connection, "world", "beginning", "evidence")
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    with Store.open(url) as again:
        (stored,) = again.trials.all("s")
    assert stored.measurements[0].gpu_use == use


@pytest.mark.parametrize(
    ("events", "world"),
    [
        ([], {}),
        ([("study_started", {"trials": 3})], {}),
        ([("study_started", {"base_version": "r1"})], {"runtime": "r1"}),
        (
            [
                ("world", {"facts": {"model": {"state": "gone"}}}),
                ("study_started", {"base_version": "r1", "world": {"model": {"state": "a"}, "x": 5}}),
            ],
            {"runtime": "r1", "model": "a"},
        ),
        (
            [
                ("study_started", {"world": {"model": {"state": "a", "touched": "1"}}}),
                ("world", {"facts": {"model": {"state": "b"}, "image": {"state": "c"}}}),
                ("notice", {"text": "busy"}),
            ],
            {"model": "b", "image": "c"},
        ),
    ],
)
def test_world_of_revision_4_is_taken_from_events(
    url: str,
    store: Store,
    add_study: Callable[..., StudySpec],
    events: list[tuple[str, dict[str, object]]],
    world: dict[str, str],
) -> None:
    add_study()
    for kind, data in events:
        store.events.append("s", kind, data, at=1.0)
    with store.database._engine.begin() as connection:
        drop(connection, "world", "beginning", "evidence")
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    with Store.open(url) as again:
        record = again.studies.get("s")
    assert record is not None
    assert {name: fact.state for name, fact in record.world.items()} == world


def test_reopening_changes_nothing(url: str, store: Store, add_study: Callable[..., StudySpec]) -> None:
    add_study()
    with Store.open(url) as again:
        assert [r.name for r in again.studies.all()] == ["s"]


def test_several_processes_open_a_new_database_at_once(url: str) -> None:
    argv = [sys.executable, str(HAMMER), url, "open"]
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [out for out, _ in outputs] == ["opened\n"] * 3, outputs


@pytest.mark.parametrize(("revision", "cause"), [("9999", "newer version"), ("e3246e0f1a2b", "another program")])
def test_tables_of_another_program_or_version_are_refused(url: str, store: Store, revision: str, cause: str) -> None:
    with store.database._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    message = refusal(url)
    assert [part for part in (cause, f"revision {revision}") if part not in message] == []
    with store.database._engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == revision


def half(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE half (name TEXT)"))
    raise OSError("no space left")


def test_failed_creation_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store_connection, "_create", half)
        assert "no space left" in refusal(url)
    with Store.open(url) as store:
        assert store.owners.all() == []
        assert "half" not in schema(store.database._engine)


def test_failed_migration_leaves_nothing(url: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.database._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    monkeypatch.setattr(store_connection, "import_module", lambda _: SimpleNamespace(migrate=half))
    assert "no space left" in refusal(url)
    assert "half" not in schema(store.database._engine)
    with store.database._engine.begin() as connection:  # which other tests use
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": rows.HEAD})


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://someone:{SECRET}@127.0.0.1:1/none",
        f"postgres://someone:{SECRET}@127.0.0.1:1/none",
        f"postgresql://127.0.0.1:1/none?user=someone&password={SECRET}",
        f"postgresql://someone:{SECRET}@127.0.0.1:no-port/none",
        f"postgresql://someone:a/{SECRET}@[::1/none",
        f"postgresql+nothing://someone:{SECRET}@h/none",
        f"mysql://someone:{SECRET}@h/none",
        f"nothing://someone:{SECRET}:x@h/none?password={SECRET}",
        f"someone:{SECRET}@h//x:{SECRET}@y",
    ],
)
def test_errors_have_no_password(url: str) -> None:
    assert SECRET not in refusal(url)


@pytest.mark.postgresql
@pytest.mark.parametrize("way", ["before the host", "in the query"])
def test_passwords_are_never_shown(postgresql: str, way: str) -> None:
    def address(password: str) -> str:
        if way == "in the query":
            return f"postgresql:///postgres?host={postgresql}&user=autotuner&password={password}"
        return f"postgresql://autotuner:{password}@/postgres?host={postgresql}"

    message = refusal(address("p%40ss-word"))
    assert "password authentication failed" in message
    assert "p%40ss-word" not in message
    assert "p@ss-word" not in message
    with Store.open(address("hunter2-of-the-tests")) as store:
        assert "hunter2" not in store.url
        assert "***" in store.url
        with pytest.raises(StoreError) as caught:
            store.events.append("s" * 3000, "k", {}, at=1.0)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_store_in_memory_is_refused(url: str) -> None:
    assert "in memory" in refusal(url)


def test_paths_that_cannot_be_a_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but as long as one" * 100)
    assert "Not a directory" in refusal(f"sqlite:///{file}/below/autotuner.db")
    assert "not a regular file" in refusal(f"sqlite:///{tmp_path}")
    assert "not a database" in refusal(f"sqlite:///{file}")
    assert file.read_text().startswith("not a database,")
    assert "sqlite:////proc/nowhere/autotuner.db" in refusal("sqlite:////proc/nowhere/autotuner.db")


def test_folder_without_write_permission(tmp_path: Path) -> None:
    """Runs without the capabilities of root, which may write anywhere."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    script = f"from autotuner.store import Store; Store.open('sqlite:///{closed}/autotuner.db')"
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    ran = subprocess.run([*drop, sys.executable, "-c", script], capture_output=True, text=True)
    if "setpriv" in ran.stderr:
        pytest.skip(f"capabilities cannot be dropped: {ran.stderr}")
    assert ran.returncode == 1
    assert "StoreError: the store sqlite:///" in ran.stderr.splitlines()[-1]
    assert list(closed.iterdir()) == []


def test_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    """The size of files is limited, which has the same effect on a database as a full disk."""
    url = f"sqlite:///{tmp_path / 'autotuner.db'}"
    script = f"""
import resource
from autotuner.store import Store, StoreError
from autotuner.testing.samples import sample_spec
spec = sample_spec("s")
store = Store.open({url!r})
store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
kept = 0
try:
    while kept < 1000:
        store.events.append("s", "notice", {{"text": "x" * 5000}}, at=1.0)
        kept += 1
except StoreError as error:
    print(kept, str(error).count("\\n"), error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    kept, lines, message = ran.stdout.split(" ", 2)
    assert 0 < int(kept) < 1000, ran.stderr
    assert int(lines) == 0
    assert url in message
    with Store.open(url) as store:
        assert len(store.events.read("s")) == int(kept), "exactly what was stored before is kept"
        store.events.append("s", "notice", {}, at=2.0)
