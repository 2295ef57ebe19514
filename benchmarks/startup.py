"""Benchmark of the CPU time (user and system, best of several runs) of commands that only read results.

Run it on a quiet machine: ``make bench-startup``. The bare interpreter's time is shown beside it, since all figures
change with the machine; the commands take turns, so that a slow moment of the machine hits all of them alike. They run
from compiled modules, as those of an installed package do, even where the environment forbids Python to write them.

``python benchmarks/startup.py --trials 3000`` measures the commands whose time grows with a study, reports included, on
one with so many trials.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import server
from autotuner.report.documents.page import is_built
from autotuner.store import Store
from autotuner.study.owner import Owner
from autotuner.study.trial import TrialState
from autotuner.testing.samples import sample_study

RUNS = 11
COMMANDS = (("list",), ("show", "{}"), ("best", "{}"), ("logs", "{}"), ("version",))
TARGET_S = 0.35
"""Of the commands above, on a short study."""
LONG_RUNS = 3
LONG = (
    ("show", "{}"),
    ("show", "{}", "--json"),
    ("show", "{}", "7"),
    ("report", "{}", "--format", "md"),
    ("report", "{}"),
)
"""Commands whose time grows with the study."""


def cpu_s(argv: list[str], env: dict[str, str]) -> float:
    """User and system time of one process."""
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
    return usage.ru_utime + usage.ru_stime


def stored(home: Path) -> str:
    """A finished study with a server's log."""
    sample = sample_study("winner")
    name = sample.spec.name
    with Store.open() as store:
        store.owners.register(Owner(id="gone", host="gone", pid=1, started=0.0), 0.0)
        store.studies.create(sample.spec, source="study.yaml", digest=sample.spec.digest, now=1.0)
        for trial in sample.trials:
            store.trials.add(trial.model_copy(update={"state": TrialState.RUNNING}), owner_id="gone")
            if trial.state.finished:
                store.trials.finish(trial, {"state": trial.state.value, "windows": []})
        store.studies.set_state(name, sample.state, {"why": sample.why}, 3.0)
    folder = home / "studies" / name / "trials" / f"{sample.trials[-1].number:04d}"
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("a line\n" * 1000)
    return name


def measured(commands: dict[str, list[str]], env: dict[str, str], runs: int) -> dict[str, float]:
    """The least CPU time of each command in seconds."""
    taken: dict[str, list[float]] = {command: [] for command in commands}
    for _ in range(runs):
        for command, argv in commands.items():
            taken[command].append(cpu_s(argv, env))
    return {command: min(times) for command, times in taken.items()}


def main() -> None:
    """Prints one line per command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=0, help="trials of a long study; default: a short one")
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUTOTUNER_HOME"] = folder
        if trials:
            with Store.open() as store:
                name = server.stored("long-8b", trials, store)
        else:
            name = stored(Path(folder))
        env = {**os.environ, "AUTOTUNER_HOME": folder, "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        commands = {"python -c pass": [sys.executable, "-c", "pass"]}
        shown = LONG if is_built() else LONG[:-1]  # the last one needs the page that `make ui` builds
        for arguments in shown if trials else COMMANDS:
            words = [argument.format(name) for argument in arguments]
            commands[" ".join(["autotuner", *words])] = [sys.executable, "-m", "autotuner", *words]
        for command, seconds in measured(commands, env, LONG_RUNS if trials else RUNS).items():
            late = "" if trials or seconds <= TARGET_S else f"  above {TARGET_S} s"
            print(f"{command:<36} {seconds:.3f} s{late}")


if __name__ == "__main__":
    main()
