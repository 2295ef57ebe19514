"""``scripts/check_commit_subject.py`` takes the subjects that CONTRIBUTING.md asks for, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/check_commit_subject.py"


def check(*arguments: str, cwd: Path | None = None, ci: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CI": ci}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, *subjects: str) -> None:
    for subject in subjects:
        git(folder, "commit", "-q", "--allow-empty", "--no-verify", "-m", subject)


@pytest.mark.parametrize(
    ("subject", "accepted"),
    [
        ("store: retry the WAL switch when two runs create the database", True),
        ("store, events: address by study", True),
        ("deployers/kubernetes: need no cluster", True),
        ("Merge branch 'main' into topic", True),
        ("fixup! store: Anything", True),
        ("store: " + "retry " * 11, False),
        ("retry the WAL switch", False),
        ("Store: retry the WAL switch", False),
        ("store: retried the WAL switch", False),
        ("store: retries the WAL switch", False),
        ("store: retrying the WAL switch", False),
        ("store: retry the WAL switch.", False),
        ("", False),
    ],
)
def test_subjects(tmp_path: Path, subject: str, accepted: bool) -> None:
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text(f"# a comment of git\n{subject}\n\nWhy: a body is free text. Anything goes.\n")
    assert check(str(message)).returncode == (0 if accepted else 1)


def test_the_commits_of_a_pull_request(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "Anything before", "store: retry", "Broken subject")
    assert check("--range", "HEAD~2..HEAD~1", cwd=tmp_path).returncode == 0
    done = check("--range", "HEAD~2..HEAD", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "Broken subject"


def test_the_commits_of_a_branch(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "Anything before")
    assert check("--branch", cwd=tmp_path).returncode == 0
    git(tmp_path, "switch", "-q", "-c", "topic")
    commit(tmp_path, "store: retry")
    assert check("--branch", cwd=tmp_path).returncode == 0
    commit(tmp_path, "Broken subject")
    done = check("--branch", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "Broken subject"
    assert check("--branch", cwd=tmp_path, ci="true").returncode == 0


def test_main_is_compared_with_its_remote_branch(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    clone = tmp_path / "clone"
    remote.mkdir()
    git(remote, "init", "-q", "-b", "main")
    commit(remote, "Anything before")
    git(tmp_path, "clone", "-q", str(remote), str(clone))
    assert check("--branch", cwd=clone).returncode == 0
    commit(clone, "Broken subject")
    assert check("--branch", cwd=clone).returncode == 1


def test_a_tree_that_is_not_the_repository_has_no_branch(tmp_path: Path) -> None:
    assert check("--branch", cwd=tmp_path).returncode == 0
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "Anything before")
    git(tmp_path, "switch", "-q", "-c", "topic")
    commit(tmp_path, "Broken subject")
    inside = tmp_path / "unpacked"
    inside.mkdir()
    assert check("--branch", cwd=inside).returncode == 0
