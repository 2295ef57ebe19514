"""``scripts/check_commit_subject.py`` takes the subjects that CONTRIBUTING.md asks for, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/check_commit_subject.py"


def check(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, cwd=cwd)


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
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for subject in ("Anything before", "store: retry", "Broken subject"):
        git("commit", "-q", "--allow-empty", "--no-verify", "-m", subject)
    assert check("--range", "HEAD~2..HEAD~1", cwd=tmp_path).returncode == 0
    done = check("--range", "HEAD~2..HEAD", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "Broken subject"
