"""Benchmark of the time that a trial takes beyond starting the engine and measuring.

Tunes a real llama.cpp server with short windows and prints, per trial, where the time went. Overhead is everything that
is neither the start of the server nor the configured warm-up and window: starting the load generator, calibrating
prompts, waiting for the last requests, scoring, the database, ending the server, choosing the next configuration.

    python benchmarks/trial_overhead.py [--trials 8]
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import autotuner
from autotuner.demo_model import write_tiny_gguf
from autotuner.study.trial import Trial

WARMUP_S = 0.5
WINDOW_S = 2.0
STARTING = ("launching", "loading")


def study(model: Path, trials: int) -> dict[str, object]:
    """A study with short windows, and short answers so that little is in flight at the end."""
    return {
        "name": "overhead",
        "model": str(model),
        "engine": {"kind": "llama_cpp", "args": {"ctx-size": 2048}},
        "parameters": {"parallel": [1, 2, 3, 4], "ubatch-size": [64, 128, 256]},
        "workload": {
            "scenarios": "D(32,8)",
            "concurrency": 2,
            "warmup": f"{WARMUP_S}s",
            "duration": f"{WINDOW_S}s",
        },
        "objective": "max output_throughput",
        "search": {"strategy": "random", "trials": trials, "seed": 0},
        "confirm": {"repeats": 0},
    }


def main() -> None:
    """Prints a row per trial and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUTOTUNER_HOME"] = folder
        model = Path(folder) / "tiny.gguf"
        write_tiny_gguf(model, layers=2, width=256)
        trials = [t for t in autotuner.tune(study(model, arguments.trials)).trials if t.finished_at is not None]
    names = sorted({name for t in trials for name in t.phases})
    print("trial", *(f"{n:>10}" for n in [*names, "between", "overhead"]))
    rows = [_row(trial, before, names) for before, trial in zip([None, *trials[:-1]], trials, strict=True)]
    for trial, row in zip(trials, rows, strict=True):
        print(f"{trial.number:5}", *(f"{v:10.3f}" for v in row))
    overheads = [row[-1] for row in rows[1:]]
    print(
        f"overhead per trial: median {statistics.median(overheads):.3f} s, max {max(overheads):.3f} s (seconds above)"
    )


def _row(trial: Trial, before: Trial | None, names: list[str]) -> list[float]:
    between = (trial.started_at or 0) - (before.finished_at or 0) if before else 0.0
    spent = sum(trial.phases.values())
    start = sum(trial.phases.get(n, 0.0) for n in STARTING)
    overhead = between + spent - start - WARMUP_S - WINDOW_S
    return [*(trial.phases.get(n, 0.0) for n in names), between, overhead]


if __name__ == "__main__":
    main()
