"""A runner for all tests, in five processes side by side and with coverage over all; ``make pytest`` calls it.

One part measures servers and follows the clock. Two run on a real Docker engine or Kubernetes node, on a database and
in a browser, and mostly wait. The other two do not follow the clock and need a core each; their low priority leaves the
cores to the first ones, and they share what these do not use. The output of the first part appears at once, that of the
others when they have ended. All run to their end, even if tests fail.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
SELECTED = "not genai and not lm_eval and not aiconfigurator and not campaign"
TARGETS = tuple(f"tests/integration/{target}" for target in ("docker", "kubernetes", "kueue", "ome"))
PURE = tuple(
    str(path.relative_to(ROOT))
    for path in sorted(ROOT.glob("tests/unit/*"))
    if path.name != "benchmarks" and (path.is_dir() or path.name.startswith("test_")) and path.name[0] != "_"
)
"""All unit tests except those of the benchmarks, which follow the clock."""
HALF = next(i for i, path in enumerate(PURE) if path > "tests/unit/s")
"""Where the pure tests are divided into halves that take about as long."""
UNTIMED = ("tests/browser", "tests/integration/store")
"""Tests of real components that do not follow the clock."""


@dataclass(frozen=True)
class Part:
    """Tests that run one after the other."""

    name: str
    title: str
    options: Sequence[str]
    nice: int

    def start(self, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        """Starts pytest. Each part has a cache and a coverage file of its own, because all write to theirs."""
        # The processes that tests start would compile every module again, which takes seconds of CPU time.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-m", "pytest", "-m", SELECTED, "--cov", "--cov-report=", "--cov-fail-under=0"]
        process = subprocess.Popen(
            [*command, "-o", f"cache_dir=.pytest_cache/{self.name}", "--durations=25", *self.options],
            cwd=ROOT,
            env={**environment, "COVERAGE_FILE": str(ROOT / self.coverage_file)},
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
        )
        os.setpriority(os.PRIO_PROCESS, process.pid, self.nice)
        return process

    @property
    def coverage_file(self) -> str:
        """Name of the file with this part's coverage."""
        return f".coverage.{self.name}"


PARTS = (
    Part(
        "measuring", "", [f"--ignore={path}" for path in (*TARGETS, *PURE, *UNTIMED)], 0
    ),  # whatever the others do not name
    Part("targets", "Tests on a Docker engine and a Kubernetes node:", TARGETS, 4),
    Part("components", "Tests on a database and in a browser:", UNTIMED, 5),
    Part("pure-1", "Tests that do not follow the clock, first half:", PURE[:HALF], 7),
    Part("pure-2", "Tests that do not follow the clock, second half:", PURE[HALF:], 7),
)


def main() -> int:
    """Returns the worst exit code of all parts and of the coverage report."""
    # A background job of a shell ignores SIGINT, and so would every tuner that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:
        outputs = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in PARTS[1:])]
        running = [part.start(output) for part, output in zip(PARTS, outputs, strict=True)]
        waiting = deque(zip(PARTS, outputs, running, strict=True))
        try:
            while waiting:
                show(*waiting[0])
                waiting.popleft()
        finally:
            for _, _, process in waiting:
                process.send_signal(signal.SIGINT)
            for rest in waiting:
                show(*rest)
    coverage("combine", "-q", *(part.coverage_file for part in PARTS))
    # Outside CI, tests of missing components are skipped, so less is covered.
    threshold = [] if os.environ.get("CI") == "true" else ["--fail-under=0"]
    coverage_code = coverage("report", "--skip-covered", *threshold)
    # The code of a process that a signal ended is negative.
    return max(*(abs(process.returncode) for process in running), coverage_code)


def show(part: Part, output: IO[bytes] | None, process: subprocess.Popen[bytes]) -> None:
    """Waits for the end of a part, and prints the output that was kept."""
    process.wait()
    if output is not None:
        print(f"\n{part.title}", flush=True)
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()


def coverage(*words: str) -> int:
    """Runs a coverage command and returns its exit code; 2: below ``fail_under`` in pyproject.toml."""
    return subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
