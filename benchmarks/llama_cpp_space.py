"""The space of examples/quickstart.yaml on real llama.cpp servers: measures all of it, then searches it for real.

    python benchmarks/llama_cpp_space.py measure [--repeats 2] [--out benchmarks/llama_cpp_space.csv]
    python benchmarks/llama_cpp_space.py search [--searches 10] [--strategy calibrated] [--trials 18]

``measure`` launches each of the 36 configurations ``--repeats`` times, every time in another order, and writes a table
of output tokens per second and p90 TTFT. ``search`` launches the servers again, one search per seed, with the engine's
default first, and counts launches until one was tried that the table calls feasible and within 5% of the best. A search
ends there. Beside it stands the expected number of a random search without replacement, (n + 1) / (k + 1) for k such
configurations among n, plus the default.

Needs a quiet machine: about 7 minutes for each repeat, and 10 s for each launch of a search.
"""

import argparse
import csv
import os
import statistics
import tempfile
from pathlib import Path

import autotuner
from autotuner import demo_model
from autotuner.study.configuration import Configuration
from autotuner.study.trial import Trial, TrialRole

REPOSITORY = Path(__file__).resolve().parent.parent
STUDY = REPOSITORY / "examples" / "quickstart.yaml"
TABLE = REPOSITORY / "benchmarks" / "llama_cpp_space.csv"
PARAMETERS = ("threads-batch", "parallel", "ubatch-size", "flash-attn")
NEAR = 0.95
"""A launch within 5% of the best ends a search."""


def loaded(name: str, model: Path, *overrides: str) -> autotuner.LoadedStudy:
    """The quickstart under another name and with a model of this run; no proof follows the search."""
    every = [f"name={name}", f"model={model}", "confirm={repeats: 0}", "search.racing=off", *overrides]
    return autotuner.read_study(STUDY, overrides=every)


def of(configuration: Configuration) -> tuple[str, ...]:
    """Values of the parameters as in the table."""
    return tuple(str(configuration.values[name]) for name in PARAMETERS)


def throughput(trial: Trial) -> float:
    """Output tokens per second; 0 for a failed trial."""
    return trial.measurements[0].value("output_throughput", None) or 0.0 if trial.measurements else 0.0


def p90_ttft(trial: Trial) -> float:
    """Seconds; infinite for a failed trial."""
    found = trial.measurements[0].value("ttft", "p90") if trial.measurements else None
    return float("inf") if found is None else found


def measure(model: Path, repeats: int, out: Path) -> None:
    """Writes the table."""
    found: dict[tuple[str, ...], list[Trial]] = {}
    for repeat in range(repeats):
        study = loaded(f"space-{repeat}", model, "search.strategy=random", "search.trials=60", f"search.seed={repeat}")
        for trial in autotuner.tune(study, source="benchmark").trials:
            if trial.role is not TrialRole.DEFAULT:
                found.setdefault(of(trial.configuration), []).append(trial)
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        head = [f"{metric}_{i + 1}" for metric in ("output_throughput", "p90_ttft_s") for i in range(repeats)]
        table.writerow([*PARAMETERS, "feasible", *head])
        for values, trials in sorted(found.items(), key=lambda item: -statistics.mean(map(throughput, item[1]))):
            feasible = all(t.verdict is not None and t.verdict.feasible for t in trials)
            speeds = [f"{throughput(t):.1f}" for t in trials]
            delays = [f"{p90_ttft(t):.3f}" for t in trials]
            table.writerow([*values, str(feasible).lower(), *speeds, *delays])
    print(f"{len(found)} configurations, {repeats} launches each: {out}")
    if repeats > 1:
        spreads = [max(own) / min(own) - 1 for trials in found.values() if all(own := [throughput(t) for t in trials])]
        typical = statistics.median(spreads)
        print(f"launches of one configuration differ by {typical:.1%} (median), {max(spreads):.1%} (most)")


def good(table: Path) -> tuple[set[tuple[str, ...]], int]:
    """Feasible configurations within 5% of the best one, and how many there are in all."""
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    speed = {
        tuple(row[name] for name in PARAMETERS): statistics.mean(
            float(value) for key, value in row.items() if key.startswith("output_throughput")
        )
        for row in rows
        if row["feasible"] == "true"
    }
    best = max(speed.values())
    return {values for values, own in speed.items() if own >= NEAR * best}, len(rows)


def search(model: Path, table: Path, searches: int, strategy: str, trials: int) -> None:
    """Prints the launches of each search."""
    wanted, count = good(table)
    print(f"{len(wanted)} of {count} configurations are within 5% of the best")
    needed = [launches(model, strategy, seed, trials, wanted) for seed in range(searches)]
    expected = 1 + (count + 1) / (len(wanted) + 1)
    print(f"{strategy}: {statistics.mean(needed):.1f} launches on average, at most {max(needed)}: {needed}")
    print(f"random: {expected:.1f} expected")


def launches(model: Path, strategy: str, seed: int, trials: int, wanted: set[tuple[str, ...]]) -> int:
    """Launches of one search, the default's included; the budget plus one if it finds none."""
    name = f"search-{strategy}-{seed}"
    budget = (f"search.strategy={strategy}", f"search.seed={seed}", f"search.trials={trials}")
    study = loaded(name, model, *budget, "search.warm_start=none")
    tried = 0
    reached = False

    def follow(event: autotuner.Event) -> None:
        nonlocal tried, reached
        if reached or not isinstance(event, autotuner.TrialProposed):
            return
        tried += 1
        if tried > 1 and of(event.configuration) in wanted:
            reached = True
            autotuner.stop_study(name)

    autotuner.tune(study, source="benchmark", on_event=follow)
    return tried if reached else trials + 2


def main() -> None:
    """Measures or searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--repeats", type=int, default=2)
    measuring.add_argument("--out", type=Path, default=TABLE)
    searching = commands.add_parser("search")
    searching.add_argument("--searches", type=int, default=10)
    searching.add_argument("--strategy", default="calibrated")
    searching.add_argument("--trials", type=int, default=18)
    searching.add_argument("--table", type=Path, default=TABLE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUTOTUNER_HOME"] = folder
        model = Path(folder) / "tiny.gguf"
        demo_model.write_tiny_gguf(model)
        if arguments.command == "measure":
            measure(model, arguments.repeats, arguments.out)
        else:
            search(model, arguments.table, arguments.searches, arguments.strategy, arguments.trials)


if __name__ == "__main__":
    main()
