"""Fixtures for all tests."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["support.ome_standin.pytest_fixtures"]

IN_CI = os.environ.get("CI") == "true"
"""In CI every component is installed, so a skipped test is a failure, except those marked ``optional``."""

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


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


@pytest.fixture(scope="session", autouse=True)
def no_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Hides the site settings and the kubeconfig of whoever runs the tests, also from the processes they start."""
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text("deploy: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNER_SITE", str(path))
        patch.setenv("KUBECONFIG", str(path.with_name("no-cluster")))
        yield path
