"""A runner for all tests, in two processes side by side and with coverage over both; ``make pytest`` calls it.

One half runs on a real Docker engine or Kubernetes node and mostly waits; the other half needs a core. Some pure tests
run with the first half, so that both take about as long. The output of the first half is printed when it has ended.
Both halves run to their end, even if tests fail.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SELECTED = "not genai and not campaign"
TARGETS = tuple(f"tests/integration/{target}" for target in ("docker", "kubernetes", "kueue", "ome"))
"""Tests on a Docker engine or a node. They have lower priority, because the other half also measures."""
BALANCE = ("tests/unit/report", "tests/unit/search", "tests/unit/simulator")
"""Tests that take about four minutes of one core and do not depend on its speed."""


def main() -> int:
    """Returns the worst exit code of both halves and of the coverage report."""
    # A background job of a shell ignores SIGINT, and so would every tuner that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    others = [f"--ignore={path}" for path in (*TARGETS, *BALANCE)]
    with tempfile.TemporaryFile() as kept:
        targets = subprocess.Popen(
            pytest("targets", [*TARGETS, *BALANCE]),
            cwd=ROOT,
            env=environment("targets"),
            stdout=kept,
            stderr=subprocess.STDOUT,
        )
        os.setpriority(os.PRIO_PROCESS, targets.pid, 5)
        try:
            code = subprocess.run(pytest("others", others), cwd=ROOT, env=environment("others"), check=False).returncode
            print("\nTests on a Docker engine and a Kubernetes node:", flush=True)
            target_code = targets.wait()
        finally:
            if targets.poll() is None:
                targets.send_signal(signal.SIGINT)
                targets.wait()
            kept.seek(0)
            sys.stdout.buffer.write(kept.read())
            sys.stdout.flush()
    coverage("combine", "-q", ".coverage.targets", ".coverage.others")
    # Outside CI, tests of missing components are skipped, so less is covered.
    threshold = [] if os.environ.get("CI") == "true" else ["--fail-under=0"]
    coverage_code = coverage("report", "--skip-covered", *threshold)
    return max(code, target_code, coverage_code)


def pytest(half: str, options: list[str]) -> list[str]:
    """Returns the command of one half. Each has its own cache, because both write to it."""
    cache = f"cache_dir=.pytest_cache/{half}"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        SELECTED,
        "--cov",
        "--cov-report=",
        "--cov-fail-under=0",
        "-o",
        cache,
    ]
    return [*command, "--durations=25", *options]


def environment(half: str) -> dict[str, str]:
    """Returns an environment in which coverage data go into a file of this half."""
    return {**os.environ, "COVERAGE_FILE": str(ROOT / f".coverage.{half}")}


def coverage(*words: str) -> int:
    """Runs a coverage command and returns its exit code; 2: below ``fail_under`` in pyproject.toml."""
    return subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
