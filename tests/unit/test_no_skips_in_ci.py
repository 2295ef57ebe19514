"""With CI=true a test may not skip itself for want of a component: the run would be green without having tested it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CASES = """
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tests with this project's conftest, less the plugin that starts clusters."""
    lines = (ROOT / "tests/conftest.py").read_text().splitlines()
    (tmp_path / "conftest.py").write_text("\n".join(x for x in lines if not x.startswith("pytest_plugins")))
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "test_whole_file.py").write_text("import pytest\npytest.skip('no module', allow_module_level=True)\n")
    return tmp_path


@pytest.mark.parametrize(
    ("ci", "counts"),
    [
        ("true", "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error"),
        ("", "1 passed, 3 skipped, 1 xfailed"),
    ],
)
def test_a_skip_is_a_failure_in_ci_and_a_skip_elsewhere(folder: Path, ci: str, counts: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command += ["-o", "addopts=--import-mode=importlib --continue-on-collection-errors", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CI": ci}, cwd=folder)
    assert ran.stdout.splitlines()[-1].partition(" in ")[0] == counts
    assert ran.returncode == (1 if ci else 0)
