"""A runner killed with SIGKILL in any phase and started again: nothing is lost, repeated or left running."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.study.trial import Trial, TrialRole, TrialState

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).with_name("dying_runner.py")
POINTS = [
    ("launching", 0), ("loading", 0), ("ready", 0), ("warming", 0), ("measuring", 0), ("scoring", 0), ("releasing", 0),
    ("done", 0), ("storing", 0), ("stored", 0), ("measuring", 1), ("stored", 1),
]  # fmt: skip


@pytest.fixture
def run_until(home: Path) -> Iterator[Callable[[Path, str, int], int]]:
    """Runs a file until it kills itself at a point; returns the exit code."""
    command = [sys.executable, str(SCRIPT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdin is not None
        assert runner.stdout is not None

        def run(file: Path, point: str, trial: int) -> int:
            print(json.dumps([str(file), point, trial]), file=runner.stdin, flush=True)
            return int(runner.stdout.readline())  # type: ignore[union-attr]

        yield run
        runner.stdin.close()


def finished(trials: tuple[Trial, ...]) -> dict[int, Trial]:
    return {t.number: t for t in trials if t.state.finished}


def wait_until_gone(leftovers: Callable[[], list[str]]) -> None:
    """Waits for servers and load generators, which end by themselves when their runner has ended."""
    until = time.monotonic() + 60
    while left := leftovers():
        assert time.monotonic() < until, left
        time.sleep(0.02)


def test_killed_at_every_phase_and_resumed(
    home: Path,
    name: str,
    quick_study: Callable[..., dict[str, Any]],
    leftovers: Callable[[], list[str]],
    run_until: Callable[[Path, str, int], int],
    tmp_path: Path,
) -> None:
    file = tmp_path / "quick.json"
    search = {"strategy": "bayesian", "trials": 4, "seed": 1}
    file.write_text(json.dumps(quick_study(search=search, confirm={"repeats": 1, "challengers": 1})))
    kept: dict[int, Trial] = {}
    for point, more in POINTS:
        number = max((t.number for t in _trials(home, name)), default=-1) + 1 + more
        assert run_until(file, point, number) == -9, f"not killed at {point}"
        wait_until_gone(leftovers)
        now = finished(_trials(home, name))
        assert {n: now.get(n) for n in kept} == kept, f"a finished trial was lost or changed by the kill at {point}"
        kept = now
    result = autotuner.tune(str(file))
    assert leftovers() == []
    assert result.state == "done"
    now = finished(result.trials)
    assert {n: now.get(n) for n in kept} == kept
    searched = [t.configuration.key for t in now.values() if t.role is not TrialRole.CONFIRM]
    assert len(searched) == len(set(searched)) == 4, "every configuration exactly once"
    assert all(t.state in {TrialState.DONE, TrialState.FAILED, TrialState.VOID} for t in result.trials)
    assert [t.number for t in result.trials] == list(range(len(result.trials)))


def _trials(home: Path, name: str) -> tuple[Trial, ...]:
    return autotuner.load_result(name).trials if (home / "autotuner.db").exists() else ()
