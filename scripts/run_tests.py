"""A runner for all tests, in five processes side by side; ``make pytest`` calls it, and ``make coverage`` with
``--coverage``, which takes almost half as much processor time again.

One part measures servers and follows the clock. Two run on a real Kubernetes node, Docker engine and database and in a
browser, and mostly wait. The other two do not follow the clock and need a core each; their low priority leaves the
cores to the first ones, and they share what these do not use. The output of the first part appears at once, that of the
others when they have ended. All run to their end, even if tests fail.

A server, a browser or a node that has to share its core with four other parts may miss a deadline that it keeps with a
core of its own, and so may a thread of a test. So a few tests that failed are run again when all parts have ended; what
fails then, too, is a failure, and what does not is listed.
"""

import argparse
import json
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
CLUSTER = tuple(f"tests/integration/{target}" for target in ("kubernetes", "kueue", "ome"))
COMPONENTS = ("tests/browser", "tests/integration/docker", "tests/integration/store")
"""Together with :data:`CLUSTER`, the tests of real components that mostly wait; the two take about as long."""
PURE = tuple(
    str(path.relative_to(ROOT))
    for path in sorted(ROOT.glob("tests/unit/*"))
    if path.name != "benchmarks" and (path.is_dir() or path.name.startswith("test_")) and path.name[0] != "_"
)
"""All unit tests except those of the benchmarks, which follow the clock."""
HALF = next(i for i, path in enumerate(PURE) if path > "tests/unit/s")
"""Where the pure tests are divided into halves that take about as long."""
TESTS_FAILED = 1
"""The exit code of pytest for failed tests, unlike one for a run that broke."""
MOST_REPEATED = 12
"""More failures than this have another cause than a busy machine."""


@dataclass(frozen=True)
class Part:
    """Tests that run one after the other."""

    name: str
    title: str
    options: Sequence[str]
    nice: int

    def start(self, output: IO[bytes] | None, *more: str) -> subprocess.Popen[bytes]:
        """Starts pytest. Each part has a cache and a coverage file of its own, because all write to theirs."""
        # The processes that tests start would compile every module again, which takes seconds of CPU time.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-m", "pytest", "-m", SELECTED]
        process = subprocess.Popen(
            [*command, "-o", f"cache_dir=.pytest_cache/{self.name}", "--durations=25", *self.options, *more],
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

    @property
    def failed(self) -> list[str]:
        """Names of the tests that failed when it last ran."""
        kept = ROOT / ".pytest_cache" / self.name / "v" / "cache" / "lastfailed"
        return list(json.loads(kept.read_text())) if kept.exists() else []


PARTS = (
    Part(
        "measuring", "", [f"--ignore={path}" for path in (*CLUSTER, *COMPONENTS, *PURE)], 0
    ),  # whatever the others do not name
    Part("cluster", "Tests on a Kubernetes node:", CLUSTER, 2),
    Part("components", "Tests on a Docker engine, on a database and in a browser:", COMPONENTS, 3),
    Part("pure-1", "Tests that do not follow the clock, first half:", PURE[:HALF], 14),
    Part("pure-2", "Tests that do not follow the clock, second half:", PURE[HALF:], 14),
)


def main() -> int:
    """Returns the worst exit code of all parts and of the coverage report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coverage", action="store_true", help="measure which lines run, and require most of them to")
    measured = ("--cov", "--cov-report=", "--cov-fail-under=0") if parser.parse_args().coverage else ()
    # A background job of a shell ignores SIGINT, and so would every tuner that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:
        outputs = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in PARTS[1:])]
        running = [part.start(output, *measured) for part, output in zip(PARTS, outputs, strict=True)]
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
    ended = list(zip(PARTS, running, strict=True))
    failed = sum(len(part.failed) for part, process in ended if process.returncode == TESTS_FAILED)
    codes: list[int] = [
        again(part, *measured) if process.returncode == TESTS_FAILED and failed <= MOST_REPEATED else process.returncode
        for part, process in ended
    ]
    # The code of a process that a signal ended is negative.
    return max(*map(abs, codes), report_coverage() if measured else 0)


def again(part: Part, *more: str) -> int:
    """Runs the failed tests of a part once more, with nothing beside them, and returns the exit code."""
    failed = part.failed
    print(f"\n{len(failed)} tests failed beside the other parts; again, alone:", flush=True)
    appended = ("--cov-append",) if more else ()
    code = part.start(None, "--last-failed", "--last-failed-no-failures=none", *more, *appended).wait()
    for name in failed:
        print(f"{'failed alone, too' if name in part.failed else 'passed alone'}: {name}", flush=True)
    return code


def show(part: Part, output: IO[bytes] | None, process: subprocess.Popen[bytes]) -> None:
    """Waits for the end of a part, and prints the output that was kept."""
    process.wait()
    if output is not None:
        print(f"\n{part.title}", flush=True)
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()


def report_coverage() -> int:
    """Prints the coverage of all parts together.

    Returns:
        The exit code; 2 if it is below ``fail_under`` in pyproject.toml.
    """
    coverage("combine", "-q", *(part.coverage_file for part in PARTS))
    # Outside CI, tests of missing components are skipped, so less is covered.
    threshold = [] if os.environ.get("CI") == "true" else ["--fail-under=0"]
    return coverage("report", "--skip-covered", *threshold)


def coverage(*words: str) -> int:
    """Runs a coverage command and returns its exit code."""
    return subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
