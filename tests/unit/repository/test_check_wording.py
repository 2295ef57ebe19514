"""``scripts/check_wording.py`` finds the phrases that this project does not use."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/check_wording.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with this check, an empty list of exceptions and one page."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/check_wording.py").write_text(SCRIPT.read_text())
    (tmp_path / "scripts/wording-exceptions.txt").touch()
    return tmp_path


def check(project: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines of the check."""
    command = [sys.executable, str(project / "scripts/check_wording.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("x is no tokenizer", "is no"),
        ("Values are no\nnumbers", "are no"),
        ("x = 1  # the engine is\n    # told the port", "is told"),
        ("It waits for ever.", "for ever"),
        ("Mends the plugin.", "Mends"),
        ("the image cannot be had", "cannot be had"),
        ("read on standard output", "standard output"),
        ("from the begin of the window", "the begin"),
        ("needs 1 GPU, there are {gpus}", "there are {gpus}"),
        ("for place in range(9)", "for place in range"),
    ],
)
def test_phrases(project: Path, text: str, phrase: str) -> None:
    (project / "page.md").write_text("\n" + text + "\n")
    code, lines = check(project)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("page.md:2: ")
    assert phrase.split()[0] in lines[0]


@pytest.mark.parametrize(
    "text",
    [
        "there is no server",
        "the standard error of the mean",
        "it is no longer needed",
        "recommend amending",
        "is_no = 1",
        "forever",
        "at the beginning, before the beginner begins",
        "there are several",
        "it asked for x",
    ],
)
def test_other_text(project: Path, text: str) -> None:
    (project / "page.md").write_text(text)
    assert check(project) == (0, [])


def test_exceptions_are_skipped_and_listed(project: Path) -> None:
    (project / "page.md").write_text("is no page")
    (project / "scripts/wording-exceptions.txt").write_text("page.md\n")
    assert check(project) == (0, [])
    code, lines = check(project, "--exceptions")
    assert (code, [line for line in lines if not line.startswith("#")]) == (0, ["page.md"])


def test_only_named_files_are_checked(project: Path) -> None:
    (project / "page.md").write_text("is no page")
    (project / "clean.md").write_text("is not a page")
    assert check(project, "clean.md") == (0, [])
    assert check(project, "clean.md", "page.md")[0] == 1
