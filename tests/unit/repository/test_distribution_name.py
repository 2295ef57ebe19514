"""``autotuner`` on PyPI is another project: nothing here may tell anyone to install it."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import autotuner
from autotuner.plugins import loading

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = (".ci", ".github", "benchmarks", "docs", "examples", "packaging", "scripts", "src", "tests")
DISTRIBUTION = "llm-inference-autotuner"

_NAME = r"(?<![\w./-])autotuner(?![\w./-])"
INSTALLS_ANOTHER_PROJECT = re.compile(
    # An installer's command line, whatever options and other packages stand before the name ...
    rf"\b(?:install|uvx|uv add|uv tool run|pipx run|poetry add|pdm add)\b[^\n`;|&#]*?[ '\"]{_NAME}"
    # ... or a requirement: with extras, with a version, or in a list of dependencies.
    rf"|{_NAME}(?:\[[a-z, -]+\]|\s*(?:==|~=|>=|<=)\s*\d)"
    rf"|\bdependencies\s*=\s*\[[^\]]*['\"]{_NAME}['\"]"
)


def texts() -> list[Path]:
    """The project's text files, except this one; without git, so that an unpacked archive can be tested too."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [path for path in found if path != Path(__file__) and b"\0" not in path.read_bytes()]


def test_no_file_installs_the_other_project() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        for match in INSTALLS_ANOTHER_PROJECT.finditer(path.read_text(errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "pip install autotuner",
        "pip install -U 'autotuner[docker]'",
        "RUN pip install --no-cache-dir autotuner==0.1.0",
        'uv tool install "autotuner"',
        "uvx autotuner run study.yaml",
        "httpx autotuner>=0.1",
        'dependencies = ["httpx", "autotuner"]',
    ],
)
def test_the_search_sees_it(text: str) -> None:
    assert INSTALLS_ANOTHER_PROJECT.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install 'llm-inference-autotuner[docker]'",
        "pip install . && autotuner run study.yaml",
        "`pip install .`; then `autotuner params pretend` lists them",
        'dependencies = ["llm-inference-autotuner"]',
        "pip uninstall -y autotuner",
    ],
)
def test_the_search_sees_nothing_else(text: str) -> None:
    assert not INSTALLS_ANOTHER_PROJECT.search(text)


def test_project_metadata_and_code_agree() -> None:
    assert PROJECT["name"] == loading._DISTRIBUTION == DISTRIBUTION
    assert PROJECT["version"] == version(DISTRIBUTION) == autotuner.__version__
    assert PROJECT["scripts"] == {"autotuner": "autotuner.cli.main:main"}
