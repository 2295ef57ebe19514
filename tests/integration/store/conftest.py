"""Fixtures for tests of the store: a SQLite file, and a PostgreSQL server that the tests start.

The server only listens on a socket in its own folder, so no port is needed; it ends with the test run.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from autotuner.store import Store
from autotuner.study.configuration import DEFAULT
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.samples import sample_spec

ROOT = "autotuner"
PASSWORD = "hunter2-of-the-tests"


def programs() -> Path | None:
    """Folder of ``initdb`` and ``postgres``, of the newest installed version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def unprivileged() -> list[str]:
    """Prefix of a command that runs as a user whom PostgreSQL accepts and ends with the test run."""
    command = ["setpriv", "--pdeathsig", "QUIT"]
    if os.getuid() != 0:
        return command
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return [*command, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pytest.skip("PostgreSQL does not run as root, and this machine has no other user for it")


class PostgresServer:
    """A server that listens on a socket in its folder only."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        log = self.folder / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=out, cwd=self.folder)
        _until_ready(self._process, self.folder, log)

    def crash(self) -> None:
        """Ends it at once: all connections break, and it recovers when it is started again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A running server; skips the test if PostgreSQL is not installed."""
    bins = programs()
    if bins is None or not shutil.which("setpriv"):
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    prefix = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="autotuner-pg-"))
    secret = folder / "password"
    try:
        secret.write_text(PASSWORD)
        owner = next((int(p.partition("=")[2]) for p in prefix if p.startswith("--reuid")), os.getuid())
        for path in (folder, secret):
            os.chown(path, owner, -1)
        initdb = [str(bins / "initdb"), "-D", str(folder / "data"), "-U", ROOT, "--no-sync", "-E", "UTF8"]
        access = ["--locale=C", "--auth=scram-sha-256", f"--pwfile={secret}"]
        subprocess.run([*prefix, *initdb, *access], check=True, capture_output=True, cwd=folder)
        options = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
        server = PostgresServer(folder, [*prefix, str(bins / "postgres"), "-D", str(folder / "data"), *options])
        server.start()
        try:
            yield server
        finally:
            server.crash()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql(postgresql_server: PostgresServer) -> str:
    """Folder of the socket of a running server."""
    return str(postgresql_server.folder)


def _until_ready(server: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(folder), user=ROOT, password=PASSWORD, dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'autotuner.db'}"
    found: str = request.getfixturevalue("postgresql_url")
    return found


@pytest.fixture
def postgresql_url(postgresql: str) -> str:
    """The URL of an empty PostgreSQL database."""
    with psycopg.connect(host=postgresql, user=ROOT, password=PASSWORD, dbname="postgres", autocommit=True) as server:
        server.execute("DROP SCHEMA public CASCADE")
        server.execute("CREATE SCHEMA public")
    return f"postgresql://{ROOT}:{PASSWORD}@/postgres?host={postgresql}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An open store without studies."""
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def add_study(store: Store) -> Callable[..., StudySpec]:
    """Stores a study under a name."""

    def add(name: str = "s", **changes: object) -> StudySpec:
        spec = sample_spec(name).model_copy(update=changes)
        store.studies.create(spec, source="test", digest=spec.digest, now=1.0)
        return spec

    return add


@pytest.fixture
def new_trial() -> Callable[..., Trial]:
    """A trial that is not stored yet."""

    def make(study: str = "s", **changes: object) -> Trial:
        trial = Trial(study=study, number=-1, role=TrialRole.SEARCH, configuration=DEFAULT, state=TrialState.RUNNING)
        return trial.model_copy(update=changes)

    return make
