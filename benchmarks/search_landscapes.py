"""Benchmark of the search strategies: how many launches each needs on landscapes that were measured before.

    python benchmarks/search_landscapes.py measured.csv [simulated.csv ...] [--seeds 30] [--most 60] [--load inner]

A landscape is one (model, system, isl, osl). The goal is the highest throughput per GPU among the points whose TPOT is
at most the landscape's 40th percentile (``--percentile``). It counts the launches until a feasible point within 5% of
that optimum was tried, and prints mean, 95th percentile and worst. Nothing is launched: a trial is a look-up.

``--load parameter``: the concurrency is one of the parameters. ``--load inner``: a launch measures all its
concurrencies, and the best one that meets the bound counts. Two kinds of table are supported: measured rows
(``ttft_ms``, ``tpot_ms``, ``gpus``, ``concurrency``; predictions in ``predicted_ttft_ms``, ``predicted_tpot_ms``) and
simulated ones (``ttft``, ``tpot``, ``tps_gpu``, ``batch``, ``err``). ``--coverage`` prints the coverage of the gain's
interval instead, by simulation.
"""

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from autotuner.scoring import gain
from autotuner.study.metric import Direction
from landscapes.ablation import ABLATIONS
from landscapes.strategies import PREDICTED, Arm, arms
from landscapes.tables import SLO_PERCENTILE, Landscape, landscapes


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


def _compare(name: str, arm: Arm, found: Sequence[Landscape], arguments: argparse.Namespace) -> None:
    """Prints one line."""
    began = time.process_time()
    needed = [
        [arm(landscape, seed, min(arguments.most, len(landscape.points))) for seed in range(arguments.seeds)]
        for landscape in found
    ]
    every = sorted(n for own in needed for n in own)
    beyond = every[math.ceil(0.95 * len(every)) - 1]
    each = " | " + " ".join(f"{statistics.mean(own):.1f}" for own in needed) if arguments.each else ""
    print(
        f"  {name:24} {statistics.mean(every):6.2f} {beyond:5} {every[-1]:6}"
        f" {time.process_time() - began:7.0f} s{each}",
        flush=True,
    )


def main() -> None:
    """Prints one line per strategy and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--most", type=int, default=60, help="longest search; the count of one that finds nothing")
    parser.add_argument("--fewest", type=int, default=12, help="skip landscapes with fewer points")
    parser.add_argument("--percentile", type=int, default=SLO_PERCENTILE, help="of TPOT, the largest one allowed")
    parser.add_argument("--load", choices=["parameter", "inner"], default="parameter")
    parser.add_argument("--strategy", choices=[*arms()], action="append")
    parser.add_argument("--without", choices=[*ABLATIONS], action="append", help="ablation: leave out a part; repeats")
    parser.add_argument("--each", action="store_true", help="also print the mean of each landscape")
    parser.add_argument("--coverage", action="store_true", help="print the coverage of the gain's interval")
    arguments = parser.parse_args()
    for part in arguments.without or ():
        ABLATIONS[part]()
    for path in arguments.paths:
        inner = arguments.load == "inner"
        found = landscapes(path, arguments.fewest, inner=inner, percentile=arguments.percentile)
        levels = sum(max(len(points), 1) for x in found for points in x.points.values())
        predicted = all(p.predicted for x in found for points in x.points.values() for p in points)
        print(f"{path.name}: {len(found)} landscapes, {levels} points, {arguments.seeds} seeds, load: {arguments.load}")
        print(f"  {'launches to within 5%':24} {'mean':>6} {'95%':>5} {'worst':>6}", flush=True)
        for name, arm in arms(found).items():
            if name in (arguments.strategy or arms()) and (predicted or name not in PREDICTED):
                _compare(name, arm, found, arguments)
    if arguments.coverage:
        for repeats in (3, 4, 6):
            shares = ", ".join(f"{noise:.0%} noise {coverage(repeats, noise, 500):.1%}" for noise in (0.02, 0.04))
            print(f"gain's 95% interval, {repeats} repeats, covers the truth: {shares}")


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):  # as the product; the matrices are small
        sys.exit(main())
