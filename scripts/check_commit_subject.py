"""A check of commit subjects: ``area: imperative``, at most 72 characters, no full stop.

The commit-msg hook runs it with the file of the message, CI on the commits of a pull request, and ``make lint`` on the
commits that main does not have.

    python scripts/check_commit_subject.py MESSAGE_FILE
    python scripts/check_commit_subject.py --range main..HEAD
    python scripts/check_commit_subject.py --branch
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LENGTH = 72
_SUBJECT = re.compile(r"(?P<area>[a-z][a-z0-9 ,./_-]*): (?P<verb>[a-z][\w-]*)\b")
_NOT_IMPERATIVE = re.compile(r"(?<!e)ed$|ing$|(?<![su])s$")
_IMPERATIVE = {"alias", "bring", "embed", "ping", "shed", "spring", "string"}
"""Verbs that only look like another form."""
_BY_GIT = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")
_MAIN = ("origin/HEAD", "origin/main", "main")
"""What a branch is compared with: the first of these that exists."""


def problems(subject: str) -> Iterator[str]:
    """Yields what is wrong with a subject."""
    if subject.startswith(_BY_GIT):
        return
    if len(subject) > LENGTH:
        yield f"{len(subject)} characters; at most {LENGTH}"
    if subject.endswith("."):
        yield "ends with a full stop"
    match = _SUBJECT.match(subject)
    if match is None:
        yield "must read `area: do something`, in lower case, as in `store: retry the WAL switch`"
    elif _NOT_IMPERATIVE.search(match["verb"]) and match["verb"] not in _IMPERATIVE:
        yield f'"{match["verb"]}" is not imperative; write what the commit does to the code, as in `store: retry`'


def git(*arguments: str) -> str | None:
    """The output of a git command; None if it failed, for example outside a repository or without git."""
    if (program := shutil.which("git")) is None:
        return None
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def branch_range() -> str | None:
    """The commits that main does not have, as ``BASE..HEAD``; None if there is nothing to compare with, as in an
    unpacked archive or a checkout of a single commit."""
    # CI checks the commits of a pull request against its own base, in a step of its own.
    if os.environ.get("CI") == "true":
        return None
    # An archive may have been unpacked inside another project's repository.
    if git("rev-parse", "--show-toplevel") != str(Path.cwd().resolve()):
        return None
    base = next((name for name in _MAIN if git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")), None)
    return f"{base}..HEAD" if base else None


def subjects(arguments: list[str]) -> list[str]:
    """Returns the subjects to check."""
    if arguments[0] in {"--range", "--branch"}:
        commits = arguments[1] if arguments[0] == "--range" else branch_range()
        if commits is None:
            return []
        log = ["git", "log", "--no-merges", "--format=%s", commits]
        return subprocess.run(log, capture_output=True, text=True, check=True).stdout.splitlines()
    lines = Path(arguments[0]).read_text().splitlines()
    return [next((line for line in lines if line and not line.startswith("#")), "")]


def main(arguments: list[str]) -> int:
    """Prints the problems; returns 1 if there are any."""
    found = [f"{subject}\n    {problem}" for subject in subjects(arguments) for problem in problems(subject)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
