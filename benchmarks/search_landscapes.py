"""Benchmark of the search strategies: how many trials each needs on landscapes that were measured before.

    python benchmarks/search_landscapes.py measured.csv [simulated.csv ...] [--seeds 5] [--most 60]

A landscape is one (model, system, isl, osl); its points are launch parameters and the concurrency. The goal is the
highest throughput per GPU among the points whose TPOT is at most the landscape's 40th percentile. It prints the mean
number of trials until a feasible point within 5% of that optimum was tried. Nothing is launched: a trial is a look-up.
Two kinds of table are supported: measured rows (``ttft_ms``, ``tpot_ms``, ``gpus``, ``concurrency``) and simulated ones
(``tps_gpu``, ``tpot``, ``err``). It also prints the coverage of the gain's interval, by simulation.
"""

import argparse
import csv
import math
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.scoring import gain
from autotuner.search.bayesian import BayesianSearch
from autotuner.search.grid import GridSearch
from autotuner.search.random import RandomSearch
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.metric import Direction
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict

IDENTITY = ("model", "system", "isl", "osl")
MEASURED = (
    "engine", "engine_version", "gemm_quant", "moe_quant", "tp", "pp", "attention_dp", "moe_tp", "moe_ep",
    "concurrency",
)  # fmt: skip
SIMULATED = ("tp", "pp", "batch", "chunk", "kv")
NEAR = 0.95
SLO_PERCENTILE = 40
STRATEGIES: Mapping[str, type[Search]] = {"random": RandomSearch, "grid": GridSearch, "bayesian": BayesianSearch}


@dataclass(frozen=True)
class Point:
    """Throughput in tokens/s per GPU, TPOT in ms; both None where the configuration does not run."""

    throughput: float | None
    tpot: float | None


@dataclass(frozen=True)
class Landscape:
    """All measured points of one model on one system with one workload."""

    name: str
    space: Space
    points: Mapping[str, Point]
    bound: float
    best: float

    def verdict(self, configuration: Configuration) -> Verdict | None:
        """Scores a configuration as a study would; None if the server did not run."""
        point = self.points[configuration.key]
        if point.throughput is None or point.tpot is None:
            return None
        over = max(0.0, point.tpot / self.bound - 1)
        return Verdict(feasible=over == 0, objectives=(point.throughput,), total_violation=over)


def landscapes(path: Path, fewest: int) -> list[Landscape]:
    """Reads the landscapes of a table that have at least ``fewest`` points."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            groups[tuple(row[c] for c in IDENTITY)].append(row)
    made = [_landscape(" ".join(key), rows) for key, rows in sorted(groups.items())]
    return [m for m in made if m is not None and len(m.points) >= fewest]


def _landscape(name: str, rows: Sequence[Mapping[str, str]]) -> Landscape | None:
    columns = SIMULATED if "tps_gpu" in rows[0] else MEASURED
    repeats: dict[str, list[Point]] = defaultdict(list)
    values: dict[str, dict[Value, None]] = {c: {} for c in columns}
    for row in rows:
        configuration = {c: _typed(row[c]) for c in columns}
        for column, value in configuration.items():
            values[column][value] = None
        repeats[Configuration(values=configuration).key].append(_point(row))
    points = {key: _median(found) for key, found in repeats.items()}
    tpots = [p.tpot for p in points.values() if p.tpot is not None]
    if len(tpots) < 2:
        return None
    bound = statistics.quantiles(tpots, n=100, method="inclusive")[SLO_PERCENTILE - 1]
    good = [p.throughput for p in points.values() if p.throughput and p.tpot is not None and p.tpot <= bound]
    parameters = [Parameter(name=c, domain=Choices(values=_in_order(values[c]))) for c in columns]
    return Landscape(name, Space(parameters=tuple(parameters)), points, bound, max(good))


def _typed(text: str) -> Value:
    return int(text) if text.isdigit() else text


def _in_order(values: Mapping[Value, None]) -> tuple[Value, ...]:
    numbers = sorted(v for v in values if isinstance(v, int))
    return (*numbers, *sorted(v for v in values if isinstance(v, str)))


def _point(row: Mapping[str, str]) -> Point:
    if "tps_gpu" in row:
        fails = bool(row["err"]) or not row["tps_gpu"]
        return Point(None, None) if fails else Point(float(row["tps_gpu"]), float(row["tpot"]))
    ttft = float(row["ttft_ms"])
    tpot = float(row["tpot_ms"])
    osl = int(row["osl"])
    seconds = (ttft + tpot * (osl - 1)) / 1000
    return Point(int(row["concurrency"]) * osl / seconds / int(row["gpus"]), tpot)


def _median(points: Sequence[Point]) -> Point:
    known = [(p.throughput, p.tpot) for p in points if p.throughput is not None and p.tpot is not None]
    if not known:
        return Point(None, None)
    return Point(statistics.median(a for a, _ in known), statistics.median(b for _, b in known))


def trials_needed(strategy: type[Search], landscape: Landscape, seed: int, most: int) -> int:
    """Counts the trials until a feasible point near the optimum; ``most`` if none was found by then."""
    context = SearchContext(
        space=landscape.space,
        directions=(Direction.MAX,),
        seed=seed,
        trials=most,
        valid=lambda c: c.key in landscape.points,
    )
    search = strategy(strategy.Settings(), context)
    history: list[Trial] = []
    while len(history) < most:
        proposal = search.ask(history)
        if isinstance(proposal, Stop):
            break
        verdict = landscape.verdict(proposal)
        if verdict and verdict.feasible and (verdict.objectives[0] or 0) >= NEAR * landscape.best:
            return len(history) + 1
        history.append(_trial(len(history), proposal, verdict))
        search.tell(history[-1])
    return most


def _trial(number: int, configuration: Configuration, verdict: Verdict | None) -> Trial:
    facts: dict[str, Any] = {"state": TrialState.DONE, "verdict": verdict}
    if verdict is None:
        failure = Failure(cause=FailureCause.OUT_OF_MEMORY, message="does not fit")
        facts = {"state": TrialState.FAILED, "failure": failure}
    return Trial(study="landscape", number=number, role=TrialRole.SEARCH, configuration=configuration, **facts)


def coverage(repeats: int, noise: float, runs: int) -> float:
    """Share of simulated proofs whose 95% interval contains the true gain (10%)."""
    source = random.Random(f"{repeats} {noise}")
    hits = 0
    for _ in range(runs):
        default = [100 * math.exp(source.gauss(0, noise)) for _ in range(repeats)]
        winner = [110 * math.exp(source.gauss(0, noise)) for _ in range(repeats)]
        found = gain(default, winner, Direction.MAX)
        hits += found.low <= 0.10 <= found.high
    return hits / runs


def main() -> None:
    """Prints one line per strategy and file, then the coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=60, help="longest search; the count of one that finds nothing")
    parser.add_argument("--fewest", type=int, default=12, help="skip landscapes with fewer points")
    parser.add_argument("--strategy", choices=[*STRATEGIES], action="append")
    parser.add_argument("--each", action="store_true", help="also print one line per landscape")
    arguments = parser.parse_args()
    for path in arguments.paths:
        found = landscapes(path, arguments.fewest)
        print(f"{path.name}: {len(found)} landscapes, {sum(len(x.points) for x in found)} points", flush=True)
        for name in arguments.strategy or STRATEGIES:
            began = time.monotonic()
            means = []
            not_found = 0
            for landscape in found:
                needed = [
                    trials_needed(STRATEGIES[name], landscape, seed, min(arguments.most, len(landscape.points)))
                    for seed in range(arguments.seeds)
                ]
                not_found += sum(n >= arguments.most for n in needed)
                means.append(statistics.mean(needed))
                if arguments.each:
                    print(f"    {landscape.name} ({len(landscape.points)} points): {means[-1]:.1f}")
            print(
                f"  {name:10} {statistics.mean(means):5.1f} trials to within 5% of the feasible optimum"
                f" ({arguments.seeds} seeds, {not_found} of {len(found) * arguments.seeds} searches reached"
                f" {arguments.most}; {time.monotonic() - began:.0f} s)",
                flush=True,
            )
    for repeats in (3, 4, 6):
        shares = ", ".join(f"{noise:.0%} noise {coverage(repeats, noise, 500):.1%}" for noise in (0.02, 0.04))
        print(f"gain's 95% interval, {repeats} repeats, covers the truth: {shares}")


if __name__ == "__main__":
    sys.exit(main())
