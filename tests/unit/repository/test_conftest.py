"""The root conftest: a skip is a failure in CI, and no test uses the data directory of the user."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autotuner.store import Store

ROOT = Path(__file__).parents[3]

SKIPS = """
import pytest

def test_skips():
    pytest.skip("no such component")

@pytest.mark.optional
def test_may_skip():
    pytest.skip("named by hand")

@pytest.mark.xfail
def test_is_known_to_fail():
    raise AssertionError

def test_passes():
    pass
"""


HOMES = """
import os
import subprocess
import sys
from pathlib import Path

import pytest
from autotuner.store import Store, open_to_read
from autotuner.store.paths import data_home

def test_home_is_empty_and_can_be_used():
    assert not data_home().exists()
    with Store.open() as store:
        assert store.studies.all() == []

def test_home_is_not_shared():
    assert not data_home().exists()

def test_processes_without_the_variable_stay_away():
    env = {name: value for name, value in os.environ.items() if name != "AUTOTUNER_HOME"}
    code = "from autotuner.store.paths import data_home, default_url; print(data_home(), default_url())"
    printed = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    assert "users" not in printed and "postgresql" not in printed

USES = [Store.open, open_to_read, lambda: open(data_home() / "x"), lambda: os.mkdir(data_home())]

@pytest.mark.parametrize("use", USES)
def test_that_fails(use, monkeypatch):
    monkeypatch.setenv("AUTOTUNER_HOME", USERS)
    use()
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[str, int]]:
    """Runs test files beside this project's conftest, less the plugin that starts clusters.

    Returns pytest's counts and its exit code.
    """
    lines = (ROOT / "tests/conftest.py").read_text().splitlines()
    (tmp_path / "conftest.py").write_text("\n".join(x for x in lines if not x.startswith("pytest_plugins")))

    def in_child(**env: str) -> tuple[str, int]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
        command += ["-o", "addopts=--import-mode=importlib --continue-on-collection-errors", str(tmp_path)]
        ran = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **env}, cwd=tmp_path, check=False
        )
        return ran.stdout.splitlines()[-1].partition(" in ")[0], ran.returncode

    return in_child


@pytest.mark.parametrize(
    ("ci", "counts"),
    [
        ("true", "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error"),
        ("", "1 passed, 3 skipped, 1 xfailed"),
    ],
)
def test_skip_is_failure_in_ci_only(run: Callable[..., tuple[str, int]], tmp_path: Path, ci: str, counts: str) -> None:
    (tmp_path / "test_cases.py").write_text(SKIPS)
    (tmp_path / "test_whole_file.py").write_text("import pytest\npytest.skip('no module', allow_module_level=True)\n")
    assert run(CI=ci) == (counts, 1 if ci else 0)


def test_data_directory_of_the_user_is_out_of_reach(run: Callable[..., tuple[str, int]], tmp_path: Path) -> None:
    users = tmp_path / "users"
    with Store.open(f"sqlite:///{users}/autotuner.db"):
        pass
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (users, *users.iterdir()))
    (tmp_path / "test_homes.py").write_text(f"USERS = {str(users)!r}\n{HOMES}")
    store = "postgresql://users.example/autotuner"
    assert run(AUTOTUNER_HOME=str(users), AUTOTUNER_STORE=store, CI="") == ("4 failed, 3 passed", 1)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (users, *users.iterdir())) == before
