"""Benchmark of stopping: how often the stated bound of the remaining gain is wrong, and what stopping costs and leaves.

    python benchmarks/stopping.py [measured.csv ...] [--kind trees ...] [--studies 40] [--gain 0.03] [--confidence 0.95]

Each study searches one landscape with a known optimum: a table of measurements, see ``search_landscapes.py``, or a
random landscape of a kind in ``landscapes/synthetic.py``, none of which comes from the model of the search. A launch
has noise. After every launch with a feasible trial, the search states its bound, and the truth is compared with it.

Per set of landscapes it prints: the share of wrong bounds among all that were stated; how many studies would have
stopped within the longest search; the share of these whose claim was wrong; the launches at the stop; and the gain that
was left, in the mean and at most. ``--each`` prints a line per study.
"""

import argparse
import math
import random
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from autotuner.plugins.search import Stop
from autotuner.search.calibrated import CalibratedSearch, CalibratedSettings
from autotuner.study.trial import Trial
from landscapes.strategies import Known, context_of
from landscapes.synthetic import SURFACES, synthetic
from landscapes.tables import Landscape, landscapes

_FIRST = 3
"""Launches before the first bound, if not every launch has one."""


@dataclass(frozen=True)
class Stated:
    """A bound and the truth, after some launches."""

    launches: int
    bound: float
    left: float
    """By how much the best configuration that was not launched is really better than the best trial."""

    @property
    def wrong(self) -> bool:
        """Whether more is left than stated."""
        return self.left > self.bound + 1e-9


def study(landscape: Landscape, seed: int, arguments: argparse.Namespace) -> Iterator[Stated]:
    """The bounds of one search, launch by launch."""
    most = min(arguments.most, len(landscape.points))
    search = CalibratedSearch(
        CalibratedSettings(), context_of(landscape, seed, most, Known(predicted=arguments.predicted))
    )
    source = random.Random(f"noise {seed}")
    history: list[Trial] = []
    while len(history) < most:
        proposal = search.ask(history)
        if isinstance(proposal, Stop):
            break
        history.append(landscape.trial(len(history), proposal, source, arguments.noise))
        search.tell(history[-1])
        if (len(history) - _FIRST) % arguments.every:
            continue
        bound = search.remaining_gain(history, arguments.confidence)
        if bound is None:
            continue
        yield Stated(len(history), bound.gain, _left(landscape, history[bound.trial], history))
        if arguments.until_stop and bound.gain <= arguments.gain:
            break


def _left(landscape: Landscape, best: Trial, history: Sequence[Trial]) -> float:
    """The true gain of what was not launched over a trial. One that met the bound by luck has no level that does."""
    tried = {t.configuration.key for t in history}
    untried = [v for key in landscape.points if key not in tried and (v := landscape.value(key)) is not None]
    reached = landscape.value(best.configuration.key)
    if reached is None and not landscape.inner:
        reached = max(p.throughput for p in landscape.points[best.configuration.key])
    if reached is None:
        return math.inf if untried else 0.0
    return max(max(untried, default=0.0) / reached - 1, 0.0)


def _report(name: str, found: Iterable[Landscape], arguments: argparse.Namespace) -> None:
    """Prints one line."""
    every: list[Stated] = []
    stops: list[Stated] = []
    studies = 0
    for number, landscape in enumerate(found, arguments.first):
        studies += 1
        stated = list(study(landscape, number, arguments))
        every += stated
        stop = next((s for s in stated if s.bound <= arguments.gain), None)
        stops += [stop] if stop else []
        if arguments.each:
            wrong = ", ".join(f"{s.launches}: {s.left:.1%} > {s.bound:.1%}" for s in stated if s.wrong)
            print(f"    {number:3} {len(landscape.points):4} points, stop {stop}; wrong {wrong or '-'}", flush=True)
    print(
        f"  {name:14} {_share(sum(s.wrong for s in every), len(every))} {len(stops):5} of {studies:5}"
        f" {_share(sum(s.left > arguments.gain for s in stops), len(stops))} {_mean([s.launches for s in stops]):9.1f}"
        f" {_mean([s.left for s in stops]):8.2%} {max((s.left for s in stops), default=math.nan):8.2%}",
        flush=True,
    )


def _share(count: int, total: int) -> str:
    return f"{count / total if total else math.nan:7.1%} ({count:3})"


def _mean(values: Sequence[float]) -> float:
    return statistics.mean(values) if values else math.nan


def main() -> None:
    """Prints one line per set of landscapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--kind", choices=[*SURFACES], action="append", help="random landscapes; repeats")
    parser.add_argument("--studies", type=int, default=40, help="searches per set of landscapes")
    parser.add_argument("--first", type=int, default=0, help="number of the first one, which seeds everything random")
    parser.add_argument(
        "--points", type=int, nargs=2, default=(50, 250), help="fewest and most configurations of random landscapes"
    )
    parser.add_argument("--until-stop", action="store_true", help="end a search where it stops")
    parser.add_argument("--most", type=int, default=40, help="longest search")
    parser.add_argument("--every", type=int, default=1, help="state a bound after every so many launches only")
    parser.add_argument("--noise", type=float, default=0.02, help="standard deviation between launches")
    parser.add_argument("--gain", type=float, default=0.03)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--load", choices=["parameter", "inner"], default="inner")
    parser.add_argument("--predicted", action="store_true", help="with the predictions of the table")
    parser.add_argument("--each", action="store_true", help="also print every study")
    arguments = parser.parse_args()
    print(
        f"  {'':14} {'bounds wrong':>13} {'stopped':>14} {'claims wrong':>13} {'launches':>9} {'left':>8} {'most':>8}"
    )
    for kind in arguments.kind or ():
        seeds = range(arguments.first, arguments.first + arguments.studies)
        _report(kind, (synthetic(kind, seed, *arguments.points) for seed in seeds), arguments)
    for path in arguments.paths:
        found = landscapes(path, 12, inner=arguments.load == "inner")
        _report(path.stem, (found[i % len(found)] for i in range(arguments.studies)), arguments)


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):  # as the product; the matrices are small
        sys.exit(main())
