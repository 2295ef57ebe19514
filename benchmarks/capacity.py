"""Benchmark of the search for a capacity, against simulated servers whose capacity is known from long runs.

    python benchmarks/capacity.py [--searches 80] [--full] [--jobs 2] [--servers TEXT] [--budget 40000] [--truth]

Virtual time only. Every search starts from a random load, up to seven times off the capacity, and looks for a bracket
of 10% on the load at which 1% of the requests miss their bound. ``false cert.`` and ``false ref.`` count searches whose
certified or refuted end is on the wrong side (95% Clopper-Pearson interval); an end that is missing because the budget
was used is not wrong. ``Wald`` is the expected number of requests of Wald's sequential test for independent requests,
at the true shares of misses of both ends of the ideal bracket (capacity divided and multiplied by the root of the
precision) and the same error rate; the certified end takes at least MLPerf's floor. Misses of a queue come in clusters:
``x D`` multiplies each end by the true dispersion of its misses, as a method needs that knows only misses. ``ratio``
is the median spent, relative to that. All requests of all levels count, warm-up included. A search that uses up its
budget is not precise: where most do, as on queues with few servers, the ratio is that of the budget and says nothing.

Beside it, on the same servers: MLPerf's early-stopping rule (independent requests, 99%) with bisection, and AIPerf's
bisection with 1,000 requests per probe and the observed percentile. ``--truth`` recomputes the table of capacities.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from random import Random
from statistics import median, quantiles
from zlib import crc32

import numpy as np

from autotuner.capacity.search import CapacitySearch, Limits
from queue_levels import WARM_UP_S, finish
from queue_models import ALLOWED, SERVERS, SHARE, Floats, Server

PRECISION = 0.1
MLPERF_FLOOR = 662
MLPERF_MOST = 8 * MLPERF_FLOOR
PROBE = 1_000
FURTHEST = 2.0
"""Logarithm of the largest factor between the first load and the capacity."""
HALF = math.sqrt(1 + PRECISION)


@dataclass(frozen=True)
class Found:
    """Result of one search."""

    low: float | None
    high: float | None
    requests: int
    precise: bool
    levels: int


Method = Callable[[Server, int, float, int], Found]
"""Server, seed, confidence, budget."""


def certified_search(server: Server, seed: int, confidence: float, budget: int) -> Found:
    """The search of this project."""
    random = Random(seed)
    limits = Limits(PRECISION, max_requests=budget, alpha=1 - confidence)
    search = CapacitySearch(limits, first_load(server, random))
    # Where misses have nothing to do with the load of a queue, there is nothing to predict.
    finish(search, server, 1 - confidence, random, predict=server.model.kind != SHARE)
    return Found(search.certified, search.refuted, search.spent, search.precise, len(search.results))


def mlperf_search(server: Server, seed: int, confidence: float, budget: int) -> Found:
    """Bisection; a level passes when MLPerf's rule passes it, looked at after each doubling of the requests."""

    def probe(load: float, random: Random, served: int) -> tuple[bool, int]:
        run = server.run(load, random.getrandbits(63), served)
        warm = len(run.take(round(WARM_UP_S * load))[0])
        requests = misses = 0
        for target in (MLPERF_FLOOR, 2 * MLPERF_FLOOR, 4 * MLPERF_FLOOR, MLPERF_MOST):
            latencies, _ = run.take(target - requests)
            if len(latencies) < target - requests:
                return False, target
            requests = target
            misses += int((latencies > server.limit).sum())
            if binomial_tail(misses, requests) <= 0.01:
                return True, requests + warm
        return False, requests + warm

    return bisect(server, seed, budget, probe)


def aiperf_search(server: Server, seed: int, confidence: float, budget: int) -> Found:
    """Bisection with a fixed number of requests and the observed percentile."""

    def probe(load: float, random: Random, served: int) -> tuple[bool, int]:
        run = server.run(load, random.getrandbits(63), served)
        warm = len(run.take(round(WARM_UP_S * load))[0])
        latencies: Floats = run.take(PROBE)[0]
        good = len(latencies) == PROBE and int((latencies > server.limit).sum()) <= ALLOWED * PROBE
        return good, PROBE + warm

    return bisect(server, seed, budget, probe)


def bisect(server: Server, seed: int, budget: int, probe: Callable[[float, Random, int], tuple[bool, int]]) -> Found:
    """Doubles or halves the load until the capacity is bracketed, then bisects."""
    random = Random(seed)
    load = first_load(server, random)
    low = high = None
    spent = levels = 0
    while spent < budget and not (low and high and high <= low * (1 + PRECISION)):
        good, requests = probe(load, random, spent)
        spent += requests
        levels += 1
        low, high = (load, high) if good else (low, load)
        load = math.sqrt(low * high) if low and high else load * (2 if good else 0.5)
    return Found(low, high, spent, bool(low and high and high <= low * (1 + PRECISION)), levels)


def first_load(server: Server, random: Random) -> float:
    """A load that is up to seven times off."""
    return server.truth.capacity * math.exp(random.uniform(-FURTHEST, FURTHEST))


def binomial_tail(misses: int, requests: int, share: float = ALLOWED) -> float:
    """Chance of at most so many misses among independent requests."""
    term = (1 - share) ** requests
    total = term
    for count in range(misses):
        term *= (requests - count) / (count + 1) * share / (1 - share)
        total += term
    return min(1.0, total)


def interval(count: int, of: int) -> tuple[float, float]:
    """Clopper-Pearson interval at 95%, by bisection."""

    def solve(tail: Callable[[float], float], rising: bool) -> float:
        low = 0.0
        high = 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if (tail(middle) < 0.025) == rising else (low, middle)
        return low

    low = 0.0 if count == 0 else solve(lambda share: 1 - binomial_tail(count - 1, of, share), True)
    high = 1.0 if count == of else solve(lambda share: binomial_tail(count, of, share), False)
    return low, high


def wald(server: Server, confidence: float) -> tuple[float, float]:
    """Expected requests of Wald's test at both ends of the ideal bracket, for independent requests and for clusters."""
    truth = server.truth
    plain = times = 0.0
    for share, dispersion, floor in (
        (truth.share_below, truth.dispersion_below, MLPERF_FLOOR),
        (truth.share_above, truth.dispersion_above, 0),
    ):
        miss = share * math.log(share / ALLOWED)
        hit = (1 - share) * math.log((1 - share) / (1 - ALLOWED))
        number = -math.log(1 - confidence) / (miss + hit)
        plain += max(floor, number)
        times += max(floor, number * dispersion)
    return plain, times


METHODS: dict[str, Method] = {"this": certified_search, "MLPerf": mlperf_search, "AIPerf": aiperf_search}


def one(method: str, server: Server, confidence: float, number: int, budget: int, salt: str) -> Found:
    """One search, for a worker process."""
    seed = crc32(f"{server.name} {confidence} {number}{salt}".encode())
    return METHODS[method](server, seed, confidence, budget)


def batch(method: str, index: int, confidence: float, numbers: Sequence[int], budget: int, salt: str) -> list[Found]:
    """Searches on one server, for a worker process."""
    return [one(method, SERVERS[index], confidence, number, budget, salt) for number in numbers]


def row(server: Server, label: str, confidence: float, results: Sequence[Found]) -> str:
    """One line of the table."""
    count = len(results)
    tally = Counter(starmap(lambda name, found: name, judged(server, results)))
    low, high = interval(tally["false cert"], count)
    spent = sorted(one.requests for one in results)
    plain, times = wald(server, confidence)
    p90 = quantiles(spent, n=10)[-1] if count > 1 else spent[0]
    return (
        f"{server.name:14s} {label:7s} {count:6d} {tally['false cert'] / count:7.1%} [{low:5.1%},{high:6.1%}]"
        f" {tally['false ref'] / count:7.1%} {tally['inside'] / count:7.1%} {tally['precise'] / count:7.1%}"
        f" {median(spent):8,.0f} {p90:8,.0f} {plain:7,.0f} {times:8,.0f} {median(spent) / times:6.2f}"
        f" {sum(one.levels for one in results) / count:6.1f}"
    )


def judged(server: Server, results: Sequence[Found]) -> list[tuple[str, Found]]:
    """What each search got right and wrong; a search may appear several times."""
    found = []
    for one in results:
        false_cert = one.low is not None and not server.good(one.low)
        false_ref = one.high is not None and server.good(one.high)
        found += [(name, one) for name, true in (("false cert", false_cert), ("false ref", false_ref)) if true]
        if not false_cert and not false_ref:
            found.append(("inside", one))
        if one.precise:
            found.append(("precise", one))
    return found


HEADER = (
    "server         rule    search false cert.            f. ref.  inside  precise      p50      p90    Wald"
    "   Wald xD  ratio levels"
)


def truth() -> None:
    """Recomputes capacities, shares of misses and dispersions by long runs, about ten seconds per server."""
    for server in SERVERS:
        model_capacity = server.truth.capacity
        if server.shares is None:
            model_capacity = crossing(
                partial(share_of_misses, server),
                model_capacity / 2,
                model_capacity * 2,
                rounds=14,
                rough=200_000,
                fine=5_000_000,
            )
        below = long_run(server, model_capacity / HALF, 5_000_000)
        above = long_run(server, model_capacity * HALF, 5_000_000)
        print(
            f"{server.name:14s} Truth({model_capacity:.4g}, {below[0]:.2g}, {below[1]:.2g}, {above[0]:.2g},"
            f" {above[1]:.2g})",
            flush=True,
        )


def crossing(
    share: Callable[[float, int], float], low: float, high: float, *, rounds: int, rough: int, fine: int
) -> float:
    """The load at which the share of misses passes what is allowed, by bisection.

    Args:
        share: Share of misses at a load, from a number of requests.
        low: A load below the one that is looked for.
        high: A load above it.
        rounds: Number of bisections.
        rough: Requests of the first run at a load.
        fine: Requests of the second one, where the share is close to what is allowed.
    """
    for _ in range(rounds):
        middle = math.sqrt(low * high)
        found = share(middle, rough)
        if ALLOWED / 3 < found < ALLOWED * 3:
            found = share(middle, fine)
        low, high = (low, middle) if found > ALLOWED else (middle, high)
    return math.sqrt(low * high)


def share_of_misses(server: Server, load: float, requests: int) -> float:
    """The share in a long run."""
    return long_run(server, load, requests)[0]


def long_run(server: Server, load: float, requests: int) -> tuple[float, float]:
    """Share of misses, and the dispersion of their number in blocks of 20,000; a saturated server misses all."""
    run = server.run(load, 17, served=1_000_000)
    run.take(5_000)
    block = 20_000
    shares = []
    for _ in range(requests // block):
        latencies, _ = run.take(block)
        if len(latencies) < block:
            return 1.0, 1.0
        shares.append(float((latencies > server.limit).mean()))
    mean = float(np.mean(shares))
    variance = float(np.var(shares)) * block
    return mean, max(1.0, variance / (mean * (1 - mean))) if 0 < mean < 1 else 1.0


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--searches", type=int, default=80, help="per server and confidence (default: 80)")
    parser.add_argument("--full", action="store_true", help="10,000 searches in all")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--servers", default="", help="only servers whose name contains this")
    parser.add_argument("--confidence", type=float, action="append", help="default: 0.95 and 0.99")
    parser.add_argument("--budget", type=int, default=40_000, help="requests per search (default: 40,000)")
    parser.add_argument("--rules", default="this,MLPerf,AIPerf", help="methods to run")
    parser.add_argument("--salt", default="", help="text that changes all seeds, to judge on others than one tuned on")
    parser.add_argument("--truth", action="store_true", help="recompute the table of capacities instead")
    options = parser.parse_args()
    if options.truth:
        truth()
        return
    searches = -(-10_000 // (2 * len(SERVERS))) if options.full else options.searches
    chosen = [index for index, server in enumerate(SERVERS) if options.servers in server.name]
    with ProcessPoolExecutor(options.jobs) as pool:
        for confidence in options.confidence or [0.95, 0.99]:
            print(f"\n{confidence:.0%} confidence, {PRECISION:.0%} precision, at most {options.budget:,} requests")
            print(HEADER)
            for method in options.rules.split(","):
                parts = [range(start, min(start + 8, searches)) for start in range(0, searches, 8)]
                futures = {
                    index: [
                        pool.submit(batch, method, index, confidence, part, options.budget, options.salt)
                        for part in parts
                    ]
                    for index in chosen
                }
                for index, jobs in futures.items():
                    results = [found for job in jobs for found in job.result()]
                    print(row(SERVERS[index], method, confidence, results), flush=True)


if __name__ == "__main__":
    main()
