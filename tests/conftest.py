"""Fixtures for all tests."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import settings

from autotuner.store.paths import data_home

pytest_plugins = ["support.ome_standin.pytest_fixtures"]

IN_CI = os.environ.get("CI") == "true"
"""In CI every component is installed, so a skipped test is a failure, except those marked ``optional``."""

# Half of the default number of examples, because every run draws others.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")

# As beside trials: the matrices are small, and on a busy machine threads that wait for work take most of the CPU time.
# Only here, not in the environment of the processes that tests start: these are as they are for users.
with pytest.MonkeyPatch.context() as loading:
    loading.setenv("OPENBLAS_NUM_THREADS", "1")
    import numpy  # noqa: F401
# Thousands of collected tests live until the end, and each collection looks through them.
gc.set_threshold(20_000, 20, 20)


def pytest_collection_finish() -> None:
    """Takes the collected tests out of all later garbage collections."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a skipped test if CI=true, with the reason why it was skipped."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("optional") is None:
        fail_if_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Does the same for files that are skipped as a whole."""
    report = yield
    if report.skipped:
        fail_if_in_ci(report)
    return report


def fail_if_in_ci(report: pytest.TestReport | pytest.CollectReport, *, in_ci: bool = IN_CI) -> None:
    """Turns a skip into a failure."""
    if in_ci:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped although CI=true: {reason}"


@pytest.fixture
def anyio_backend() -> str:
    """The event loop implementation that the program runs on."""
    return "asyncio"


USERS_HOME = data_home()
"""The data directory of the user who runs the tests."""


@pytest.fixture(scope="session", autouse=True)
def no_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Hides the site settings, the kubeconfig and the store of whoever runs the tests, also from the processes that
    tests start."""
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text("deploy: {}\n")
    sys.addaudithook(refuse_users_home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNER_SITE", str(path))
        patch.setenv("KUBECONFIG", str(path.with_name("no-cluster")))
        patch.setenv("AUTOTUNER_HOME", str(path.with_name("home")))
        # For processes that a test starts without AUTOTUNER_HOME.
        patch.setenv("XDG_DATA_HOME", str(path.with_name("data")))
        patch.delenv("AUTOTUNER_STORE", raising=False)
        # Servers of llama.cpp have more threads than cores here, and those that wait would take the others' CPU time.
        patch.setenv("OMP_WAIT_POLICY", "passive")
        yield path


@pytest.fixture(autouse=True)
def home_of_this_test(no_site: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a test that names no data directory one of its own; it is created when something is stored."""
    shared = no_site.with_name("home")
    if os.environ.get("AUTOTUNER_HOME") == str(shared):
        monkeypatch.setenv("AUTOTUNER_HOME", str(shared / f"{abs(hash(request.node.nodeid)):x}"))


def refuse_users_home(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: fails a test that opens or creates something in the data directory of the user."""
    if event in {"open", "os.mkdir", "sqlite3.connect"} and isinstance(arguments[0], str | bytes | os.PathLike):
        path = unquote(os.fsdecode(arguments[0]))
        if f"{USERS_HOME}{os.sep}" in f"{path}{os.sep}":
            pytest.fail(f"the test uses the data directory of the user: {path}")
