"""A check for phrases that this project does not use, in code, messages, docs and tests.

``make lint`` runs it; so does the pre-commit hook, with the changed files. Codespell checks the spelling.

    python scripts/check_wording.py [FILE ...]       # files listed in wording-exceptions.txt are skipped
    python scripts/check_wording.py --exceptions     # prints that list for the current files; it may shrink, not grow
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".devcontainer", ".github", "benchmarks", "docs", "examples", "packaging", "scripts", "src", "tests")
SUFFIXES = {".cff", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}
EXCEPTIONS = "scripts/wording-exceptions.txt"
QUOTES_PHRASES = {"scripts/check_wording.py", "tests/unit/repository/test_check_wording.py", "CHANGELOG.md"}
"""Not checked: they quote the phrases, or keep the wording of an earlier version."""

INSTEAD = {
    r"(?:is|are|was|were) told": "the active voice: who says what",
    r"(?:is|are) asked for": "the active voice: who asks for it",
    r"goe?s? before": "overrides, takes precedence over, precedes",
    r"for ever": "forever, without a limit",
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"strangers?": "other processes, foreign",
    r"somebody": "someone, a user; or name the process",
    r"(?:to|can|cannot|could|could not) be had": "available; cannot be pulled",
    r"words about": "messages, text",
    r"(?<!there\s)(?:is|are) no(?! (?:longer|more|less|fewer|better|worse|different|one)\b)": "is not a, is unknown",
    r"is not yours": "is managed by autotuner and cannot be set",
    r"standard (?:output|error(?! of\b))": "stdout, stderr",
    r"should be known": "warning",
    r"nobody (?:listens|knows|names one)": "connection refused, unknown, not set",
    r"[0-9N]+ of ours": "created by autotuner",
    r"(?:go|goes|going|went) on with": "resume, continue",
    r"95 %": "95%",
    r"hangs? on": "depends on",
    r"in silence": "silently",
    r"for want of": "for lack of, without",
    r"(?:the|its|their|window's|trace's) begin": "start, beginning",
    r"behind (?:its|the (?:window's|trace's)) end": "after its end",
    r"(?:is|are) being run": "is running",
    r"there (?:is|are|was|were) (?:0|\{\w+\})": "none available, only N available",
    r"ended with exit code": "exited with code",
    r"at the same place": "at the same position",
    r"put (?:it|them) back": "restore",
    r"made by (?:the first run|a newer)": "created by",
    r"for place in (?:range|enumerate)|for place, \w+ in enumerate": "index",
    r"said about (?:itself|themselves)": "reported",
    r"now and then": "occasionally, repeatedly",
    r"told apart": "distinguished, parsed",
    r"(?:be|is|are) made again": "is repeated, is created again",
    r"some (?:ten|twenty|hundred) (?!of)": "about ten",
}
# A space of a phrase may be a line break, with the indent and the comment mark of the next line.
_GAP = r"(?:[ ]|\n[ \t]*(?:\# ?)?)"
_PHRASES = [
    (re.compile(rf"(?<![\w-]){phrase.replace(' ', _GAP)}(?![\w-])", re.IGNORECASE), instead)
    for phrase, instead in INSTEAD.items()
]


class Finding(NamedTuple):
    """A phrase in a text, and what to write instead of it."""

    line: int
    phrase: str
    instead: str


def check_text(text: str) -> list[Finding]:
    """Finds the phrases in a text, in the order of their lines."""
    found = [
        Finding(text.count("\n", 0, match.start()) + 1, " ".join(match.group().split()), instead)
        for pattern, instead in _PHRASES
        for match in pattern.finditer(text)
    ]
    return sorted(found)


def checked_files(root: Path) -> list[Path]:
    """Returns every text file that people read."""
    found = [path for path in root.iterdir() if path.suffix in SUFFIXES]
    for folder in FOLDERS:
        found += [path for path in (root / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted(path for path in found if path.relative_to(root).as_posix() not in QUOTES_PHRASES)


def exceptions(root: Path) -> set[str]:
    """Returns the files that were written before this check and are not cleaned yet."""
    lines = (root / EXCEPTIONS).read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def main(arguments: list[str]) -> int:
    """Prints the phrases, or the files that have some; returns 1 if a file that is not listed has one."""
    listing = arguments == ["--exceptions"]
    named = [Path(name).resolve() for name in arguments] if arguments and not listing else None
    skipped = set() if listing else exceptions(ROOT)
    found = {}
    for path in checked_files(ROOT):
        name = path.relative_to(ROOT).as_posix()
        if name not in skipped and (named is None or path in named):
            found[name] = check_text(path.read_text())
    if listing:
        print("# Not cleaned yet; see check_wording.py. Take a file out of this list when you rewrite it.")
        print(*(name for name, phrases in found.items() if phrases), sep="\n")
        return 0
    lines = [
        f'{name}:{line}: "{phrase}"; write: {instead}'
        for name, phrases in found.items()
        for line, phrase, instead in phrases
    ]
    print(*lines, sep="\n", end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
