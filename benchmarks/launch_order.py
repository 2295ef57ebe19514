"""Benchmark of ordering launches by what they load: simulated time of searches with a known optimum.

    python benchmarks/launch_order.py measured.csv --fewest 40 --seeds 3
    python benchmarks/launch_order.py --synthetic 4 --seeds 1 --trials 25

Two searches of each landscape differ only in whether the search knows which launches load the same: those with the same
engine, release and formats of weights, or on random landscapes with the same unordered parameters. Launches are
look-ups on virtual time. Three machines: one whose page cache holds the weights of one server, one whose compile caches
last, and one on which every launch but the first takes as long. Prints the time and the launches until a feasible
configuration within 5% of the best one was measured, then the time of all launches, and what they found.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from threadpoolctl import threadpool_limits

from autotuner.plugins.search import Stop
from autotuner.search.calibrated import CalibratedSearch, CalibratedSettings
from autotuner.study.configuration import Configuration
from autotuner.study.trial import Phase, Trial
from landscapes.strategies import Known, context_of
from landscapes.synthetic import SURFACES, synthetic
from landscapes.tables import NEAR, Landscape, landscapes

LOADED = ("engine", "engine_version", "gemm_quant", "moe_quant", "c", "d")
"""Parameters that decide what is loaded, of both kinds of landscape."""
QUICK_S = 60.0
SLOW_S = 300.0
REST_S = 120.0
NOISE = 0.05
"""Standard deviation of a launch's logarithm."""

Machine = Callable[[Hashable, Sequence[Hashable]], float]
"""Seconds of a launch that loads something, after others."""
MACHINES: dict[str, Machine] = {
    "page cache": lambda own, before: QUICK_S if own in before[-1:] else SLOW_S,
    "compile cache": lambda own, before: QUICK_S if own in before else SLOW_S,
    "no difference": lambda own, before: SLOW_S if not before else QUICK_S,
}


def loaded(configuration: Configuration) -> Hashable:
    """What a configuration loads."""
    return tuple(configuration.values.get(name) for name in LOADED)


@dataclass(frozen=True)
class Run:
    """One search."""

    seconds: float
    """Until a configuration within the goal was measured, or the end."""
    launches: int
    all_seconds: float
    """Of all its launches."""
    found: float
    """The best configuration that was measured, relative to the best of all."""


def launch_times(proposals: Sequence[Configuration], seed: int, machine: Machine) -> list[float]:
    """Seconds of these launches one after the other."""
    noise = random.Random(f"launches {seed}")
    loads = [loaded(c) for c in proposals]
    return [machine(own, loads[:i]) * noise.lognormvariate(0, NOISE) for i, own in enumerate(loads)]


def searched(
    landscape: Landscape, seed: int, trials: int, machine: Machine | None, known: Known
) -> tuple[Landscape, int, list[Configuration]]:
    """What a search launches; None: it does not know what loads the same, and so the machine makes no difference."""
    context = context_of(landscape, seed, trials, known)
    if machine is not None:
        context = replace(context, loading=loaded)
    search = CalibratedSearch(CalibratedSettings(), context)
    history: list[Trial] = []
    proposals: list[Configuration] = []
    while len(history) < trials:
        proposal = search.ask(history)
        if isinstance(proposal, Stop):
            break
        proposals.append(proposal)
        trial = landscape.trial(len(history), proposal)
        if machine is not None:
            launch_s = launch_times(proposals, seed, machine)[-1]
            phases = {Phase.LOADING: launch_s, Phase.READY: 0.0, Phase.MEASURING: REST_S}
            trial = trial.replaced(phases={phase.value: s for phase, s in phases.items()})
        history.append(trial)
        search.tell(trial)
    return landscape, seed, proposals


def timed(landscape: Landscape, seed: int, proposals: Sequence[Configuration], machine: Machine) -> Run:
    """How long these launches take on a machine."""
    ends = list(accumulate(s + REST_S for s in launch_times(proposals, seed, machine)))
    found = [(landscape.value(c.key) or 0.0) / landscape.best for c in proposals]
    first = next((i for i, share in enumerate(found) if share >= NEAR), len(ends) - 1)
    return Run(ends[first], first + 1, ends[-1], max(found))


def line(runs: Sequence[Run]) -> str:
    """The means of some searches."""
    to_goal = statistics.fmean(r.seconds for r in runs) / 60, statistics.fmean(r.launches for r in runs)
    to_end = statistics.fmean(r.all_seconds for r in runs) / 60
    reached = statistics.fmean(r.found >= NEAR for r in runs)
    return f"{to_goal[0]:8.1f} {to_goal[1]:9.2f} {to_end:13.1f} {reached:10.0%}"


def main() -> None:
    """Prints one line per machine and order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--synthetic", type=int, default=0, metavar="N", help="random landscapes of each kind")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=20, help="launches of a search")
    parser.add_argument("--fewest", type=int, default=12, help="skip landscapes with fewer points")
    parser.add_argument("--predicted", action="store_true", help="begin with the predictions of the table")
    arguments = parser.parse_args()
    found = [x for path in arguments.paths for x in landscapes(path, arguments.fewest, inner=False)]
    found += [synthetic(kind, seed) for kind in SURFACES for seed in range(arguments.synthetic)]
    known = Known(predicted=arguments.predicted)
    print(f"{len(found)} landscapes, {arguments.seeds} seeds")
    print(f"{'machine':14} {'order':9}  minutes  launches  minutes of all  within 5%", flush=True)
    tasks = [(x, seed, min(arguments.trials, len(x.points))) for x in found for seed in range(arguments.seeds)]
    by_score = [searched(*task, None, known) for task in tasks]
    for name, machine in MACHINES.items():
        by_time = [searched(*task, machine, known) for task in tasks]
        for order, runs in (("by score", by_score), ("by time", by_time)):
            print(f"{name:14} {order:9} {line([timed(*run, machine) for run in runs])}", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):
        sys.exit(main())
