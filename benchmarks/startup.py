"""Benchmark of the CPU time (user and system, best of several runs) of commands that only read results.

Run it on a quiet machine: ``make bench-startup``. It also prints the time of the bare interpreter, because all figures
depend on the machine. The commands run from compiled modules, as in an installed package, even if the environment
forbids Python to write them: they are in a temporary folder.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from autotuner.store import Store
from autotuner.study.owner import Owner
from autotuner.study.trial import TrialState
from autotuner.testing.samples import sample_study

RUNS = 7
COMMANDS = (("list",), ("show", "{}"), ("best", "{}"), ("logs", "{}"), ("version",))
TARGET_S = 0.35


def cpu_s(argv: list[str], env: dict[str, str]) -> float:
    """User and system time of the fastest of several runs, in seconds."""
    best = float("inf")
    for _ in range(RUNS):
        with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            _, _, usage = os.wait4(child.pid, 0)
            child.returncode = 0
        best = min(best, usage.ru_utime + usage.ru_stime)
    return best


def stored(home: Path) -> str:
    """Stores a finished study with a server log and returns its name."""
    os.environ["AUTOTUNER_HOME"] = str(home)
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


def main() -> None:
    """Prints one line per command."""
    with tempfile.TemporaryDirectory() as folder:
        name = stored(Path(folder))
        env = {**os.environ, "AUTOTUNER_HOME": folder, "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        bare = cpu_s([sys.executable, "-c", "pass"], env)
        print(f"{'python -c pass':<20} {bare:.3f} s")
        for words in COMMANDS:
            argv = [sys.executable, "-m", "autotuner", *(word.format(name) for word in words)]
            taken = cpu_s(argv, env)
            late = "" if taken <= TARGET_S else f"  above {TARGET_S} s"
            print(f"autotuner {words[0]:<10} {taken:.3f} s{late}")


if __name__ == "__main__":
    main()
