"""Backups: everything comes back, from and into both kinds of database; what is damaged changes nothing."""

import io
import json
import tarfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import autotuner
from autotuner.errors import AutotunerError, UsageError
from autotuner.store import Store, tables
from autotuner.store.backup.archive import Manifest
from autotuner.store.paths import trial_folder
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.samples import sample_spec


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory that is backed up."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Switches to a new data directory, and returns the URL of its SQLite file."""

    def switch() -> str:
        monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "new"))
        return f"sqlite:///{tmp_path}/new/autotuner.db"

    return switch


def contents(url: str) -> dict[str, list[dict[str, object]]]:
    """All rows of a database."""
    with Store.open(url) as store, store.database.reading() as db:
        return {
            table.name: [dict(row) for row in db.execute(table.select().order_by(*table.primary_key)).mappings()]
            for table in tables.metadata.sorted_tables
        }


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """A copy of an archive whose files were changed."""
    with tarfile.open(archive) as old:
        files = {entry.name: (old.extractfile(entry) or io.BytesIO()).read() for entry in old}
    change(files)
    copy = archive.with_name("changed.tar.gz")
    with tarfile.open(copy, "w:gz") as new:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            new.addfile(entry, io.BytesIO(data))
    return copy


@pytest.fixture
def filled(url: str, add_study: Callable[..., StudySpec], new_trial: Callable[..., Trial], store: Store) -> str:
    """The URL of a store with studies, trials, events, a token, and files."""
    for name in ("a", "b"):
        add_study(name)
        for number in range(3):
            trial = store.trials.add(new_trial(name), owner_id="o")
            store.trials.finish(trial.model_copy(update={"state": TrialState.DONE}), {"state": "done", "windows": []})
            folder = trial_folder(name, number)
            folder.mkdir(parents=True)
            (folder / "server.log").write_text(f"log of {name} {number} \u2713\n")
            (folder / "level-0.parquet").write_bytes(bytes(range(256)) * 700)
    autotuner.open(url).access().create("ci")
    return url


def files_under(folder: Path) -> dict[str, bytes]:
    """The studies' files below a data directory."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("studies/**/*") if path.is_file()}


def test_everything_comes_back(filled: str, home: Path, tmp_path: Path, elsewhere: Callable[[], str]) -> None:
    archive = tmp_path / "backup.tar.gz"
    written = autotuner.open(filled).backup(archive)
    assert (written.studies, written.trials, written.files) == (2, 6, 12)
    assert archive.stat().st_mode & 0o777 == 0o600
    target = elsewhere()
    assert autotuner.open(target).restore(archive) == written
    assert contents(target) == contents(filled)
    found = files_under(tmp_path / "new")
    assert found == files_under(home)
    assert len(found) == 12
    assert {(tmp_path / "new" / name).stat().st_mode & 0o777 for name in found} == {0o600}
    assert list((tmp_path / "new").glob(".restore*")) == []


@pytest.mark.postgresql
def test_results_move_to_another_kind_of_database(
    tmp_path: Path, postgresql_url: str, elsewhere: Callable[[], str]
) -> None:
    local = f"sqlite:///{tmp_path}/local.db"
    with Store.open(local) as store:
        spec = sample_spec("a")
        store.studies.create(spec, source="test", digest=spec.digest, now=1.0)
        store.events.append("a", "study_started", {"trials": 1, "parameters": [], "proof": 0}, at=1.0)
    before = contents(local)
    autotuner.open(local).backup(tmp_path / "backup.tar.gz")
    elsewhere()
    autotuner.open(postgresql_url).restore(tmp_path / "backup.tar.gz")
    assert contents(postgresql_url) == before
    with Store.open(postgresql_url) as store:  # new rows are numbered after those of the backup
        store.events.append("a", "study_finished", {"state": "done", "why": ""}, at=2.0)
    seqs = [row["seq"] for row in contents(postgresql_url)["events"]]
    assert seqs == sorted(set(seqs))
    assert len(seqs) == len(before["events"]) + 1


def test_every_finished_trial_has_its_files_while_a_study_runs(
    store: Store,
    url: str,
    add_study: Callable[..., StudySpec],
    new_trial: Callable[..., Trial],
    tmp_path: Path,
    elsewhere: Callable[[], str],
) -> None:
    add_study("s")
    started = threading.Event()
    ended = threading.Event()

    def measure() -> None:
        while not ended.is_set():
            trial = store.trials.add(new_trial("s"), owner_id="o")
            folder = trial_folder("s", trial.number)
            folder.mkdir(parents=True)
            beside = folder / ".level-0.parquet.0123.part"
            beside.write_bytes(b"PAR1" * 1000)
            beside.rename(folder / "level-0.parquet")
            store.trials.finish(trial.model_copy(update={"state": TrialState.DONE}), {"state": "done", "windows": []})
            if trial.number == 10:
                started.set()

    running = threading.Thread(target=measure)
    running.start()
    try:
        assert started.wait(60)
        autotuner.open(url).backup(tmp_path / "backup.tar.gz")
    finally:
        ended.set()
        running.join()
    target = elsewhere()
    autotuner.open(target).restore(tmp_path / "backup.tar.gz")
    finished = [row["number"] for row in contents(target)["trials"] if row["state"] == "done"]
    assert len(finished) >= 10
    for number in finished:
        assert (trial_folder("s", int(str(number))) / "level-0.parquet").read_bytes() == b"PAR1" * 1000


def test_backup_does_not_replace_a_file(filled: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt.*exists"):
        autotuner.open(filled).backup(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_only_an_empty_store_is_filled(filled: str, tmp_path: Path) -> None:
    autotuner.open(filled).backup(tmp_path / "backup.tar.gz")
    before = contents(filled)
    with pytest.raises(UsageError, match="not empty"):
        autotuner.open(filled).restore(tmp_path / "backup.tar.gz")
    assert contents(filled) == before


def test_files_of_another_study_are_not_mixed_with_those_of_the_backup(
    filled: str, tmp_path: Path, elsewhere: Callable[[], str]
) -> None:
    autotuner.open(filled).backup(tmp_path / "backup.tar.gz")
    target = elsewhere()
    (tmp_path / "new" / "studies" / "b").mkdir(parents=True)
    with pytest.raises(AutotunerError, match="cannot restore b"):
        autotuner.open(target).restore(tmp_path / "backup.tar.gz")
    assert contents(target)["studies"] == []
    assert files_under(tmp_path / "new") == {}


def damages() -> Mapping[str, Callable[[dict[str, bytes]], object]]:
    """Changes of an archive that must be noticed, by what is wrong afterwards."""

    def lose_row(files: dict[str, bytes]) -> None:
        files["tables/trials.jsonl"] = files["tables/trials.jsonl"].partition(b"\n")[2]

    def lose_file(files: dict[str, bytes]) -> None:
        del files["studies/a/trials/0000/server.log"]

    def set_manifest(**changes: object) -> Callable[[dict[str, bytes]], None]:
        def change(files: dict[str, bytes]) -> None:
            files["backup.json"] = json.dumps({**json.loads(files["backup.json"]), **changes}).encode()

        return change

    return {
        "6 rows|5 rows": lose_row,
        "not complete": lose_file,
        "no backup at all|is not a backup": lambda files: files.pop("backup.json"),
        "damaged": lambda files: files.update({"tables/studies.jsonl": b"{"}),
        "complete": lambda files: files.pop("complete.json"),
        "newer version": set_manifest(revision="9999", version="9.0"),
        "newer version of": set_manifest(format=2),
        "is not a backup of": set_manifest(rows="many"),
        "not a backup": lambda files: files.update({"studies/../../evil": b""}),
        "a backup": lambda files: files.update({"/etc/evil": b""}),
        "backup": lambda files: files.update({"studies/-x/evil": b""}),
    }


@pytest.mark.parametrize("message", damages())
def test_damaged_archive_changes_nothing(
    filled: str, message: str, tmp_path: Path, elsewhere: Callable[[], str]
) -> None:
    autotuner.open(filled).backup(tmp_path / "backup.tar.gz")
    changed = rewritten(tmp_path / "backup.tar.gz", damages()[message])
    target = elsewhere()
    with pytest.raises(UsageError, match=message) as caught:
        autotuner.open(target).restore(changed)
    assert "\n" not in str(caught.value)
    assert contents(target)["studies"] == []
    left = {path.name for path in (tmp_path / "new").iterdir()}
    assert left <= {"autotuner.db", "autotuner.db-wal", "autotuner.db-shm", "studies"}
    assert files_under(tmp_path / "new") == {}


def test_a_flipped_bit_is_noticed(filled: str, tmp_path: Path, elsewhere: Callable[[], str]) -> None:
    archive = tmp_path / "backup.tar.gz"
    autotuner.open(filled).backup(archive)
    data = bytearray(archive.read_bytes())
    target = elsewhere()
    for index in range(20, len(data), len(data) // 12):
        data[index] ^= 1
        archive.write_bytes(data)
        data[index] ^= 1
        with pytest.raises(UsageError, match=r"damaged or not complete|is not a backup"):
            autotuner.open(target).restore(archive)
    assert contents(target)["studies"] == []
    assert files_under(tmp_path / "new") == {}


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.9, 0.999])
def test_cut_archive_changes_nothing(filled: str, kept: float, tmp_path: Path, elsewhere: Callable[[], str]) -> None:
    archive = tmp_path / "backup.tar.gz"
    autotuner.open(filled).backup(archive)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(kept * len(data))])
    target = elsewhere()
    with pytest.raises(UsageError, match=r"damaged or not complete|is not a backup"):
        autotuner.open(target).restore(archive)
    assert contents(target)["studies"] == []
    assert files_under(tmp_path / "new") == {}


def test_backup_of_an_older_version_is_migrated(url: str, tmp_path: Path, elsewhere: Callable[[], str]) -> None:
    spec = sample_spec("a")
    values = {
        "name": "a", "digest": spec.digest, "spec": spec.model_dump_json(), "source": "test", "state": "done",
        "summary": None, "owner_id": None, "stop_requested": 0, "search_s": None, "world": None, "beginning": None,
        "evidence": None, "created_at": 1.0, "updated_at": 1.0,
    }  # fmt: skip
    manifest = Manifest(format=1, revision="0006", version="0.0", at=1.0, rows={"studies": 1})
    archive = tmp_path / "old.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for name, data in (
            ("backup.json", manifest.model_dump_json()),
            ("tables/studies.jsonl", json.dumps(values)),
            ("complete.json", '{"files": 0}'),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data.encode()))
    elsewhere()
    assert autotuner.open(url).restore(archive).studies == 1
    with Store.open(url) as store:
        assert store.studies.get("a").spec == spec
