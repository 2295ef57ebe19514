"""Benchmark of a study of capacity: 12 configurations of the simulated SGLang, in virtual time.

    python benchmarks/capacity_study.py [--studies 4] [--jobs 2] [--truth]

Each configuration is searched for its highest rate at which 1% of the requests take longer than 2 s, with 10% precision
and 95% confidence. ``full`` searches every configuration to its end. ``study`` does what a study does: the first one is
searched to its end, and each later one must hold 10% more than the best certified rate so far. It is dropped once that
is refuted, or not shown within half of the requests; one that holds it is searched until the certified rate is close to
its capacity. ``fixed`` is a study of fixed levels: eight rates per configuration, each with the 662 requests
that MLPerf's rule needs for a p99. Each study takes the configurations in another order.

Several configurations have nearly the same capacity. A winner is therefore also judged by its true capacity, from long
runs (``--truth`` repeats them, about 20 minutes), relative to the highest one.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from random import Random

from autotuner.capacity.search import CapacitySearch, Limits
from capacity import MLPERF_FLOOR, PRECISION, crossing
from queue_levels import finish
from simulated_sglang import SimulatedSGLang

CONFIGURATIONS = [
    SimulatedSGLang(
        gpu="RTX-4090",
        model="Qwen/Qwen3-8B",
        flags={
            "--context-length": "4096",
            "--max-running-requests": str(running),
            "--chunked-prefill-size": str(chunk),
        },
        prompt_tokens=(300, 60),
        output_tokens=(24, 6),
        limit=2.0,
    )
    for running, chunk in product((8, 16, 32, 64), (256, 1024, 4096))
]
TRUTH = (8.13, 8.71, 8.71, 10.89, 12.35, 12.2, 11.15, 12.25, 12.55, 11.11, 11.95, 12.7)
"""Capacity of each configuration in requests per second, by bisection with 40,000 requests where it is close."""
FIXED_LEVELS = 8
PILOT = 32
"""Requests of the closed loop that the first search begins with."""
FIRST_LOAD = 8.0
"""What the pilot finds; requests per second."""
BUDGET = 20_000
ALPHA = 0.05


@dataclass(frozen=True)
class Answer:
    """What one search found, in requests per second, and what it spent."""

    certified: float | None
    refuted: float | None
    requests: int
    cut: bool = False


def search(index: int, seed: int, start: float, required: float | None = None) -> Answer:
    """The capacity of one configuration."""
    server = CONFIGURATIONS[index]
    random = Random(f"{index} {seed}")
    found = CapacitySearch(Limits(max_requests=BUDGET, alpha=ALPHA), start, required=required)
    finish(found, server, ALPHA, random)
    return Answer(found.certified, found.refuted, found.spent, found.cut)


def full(index: int, seed: int) -> Answer:
    """A search without knowledge of other configurations."""
    return search(index, seed, FIRST_LOAD)


def study(seed: int) -> list[tuple[int, Answer]]:
    """All configurations, one after the other, in an order of this study's own."""
    order = list(range(len(CONFIGURATIONS)))
    Random(seed).shuffle(order)
    answers: list[tuple[int, Answer]] = []
    best = None
    for index in order:
        answer = search(index, seed, best or FIRST_LOAD, best and best * (1 + PRECISION))
        answers.append((index, answer))
        if answer.certified is not None and not answer.cut:
            best = max(best or 0.0, answer.certified)
    return answers


def winner(answers: Sequence[tuple[int, Answer]]) -> tuple[int, float]:
    """The configuration with the highest certified rate, and that rate."""
    ranked = [(answer.certified, index) for index, answer in answers if answer.certified and not answer.cut]
    rate, index = max(ranked)
    return index, rate


def true_capacity(index: int) -> float:
    """The rate at which the share of misses passes what is allowed."""
    return crossing(partial(_share_of_misses, index), 4.0, 32.0, rounds=9, rough=6_000, fine=40_000)


def _share_of_misses(index: int, rate: float, requests: int) -> float:
    server = CONFIGURATIONS[index]
    run = server.run(rate, 5)
    run.take(500)
    latencies, _ = run.take(requests)
    return float((latencies > server.limit).mean()) if len(latencies) == requests else 1.0


def name(index: int) -> str:
    """The flags that differ."""
    flags = CONFIGURATIONS[index].flags
    return " ".join(f"{key.removeprefix('--')}={value}" for key, value in list(flags.items())[1:])


def main() -> None:
    """Prints each configuration, and each study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=4, help="studies (default: 4)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--truth", action="store_true", help="recompute the table of capacities instead")
    options = parser.parse_args()
    if options.truth:
        with ProcessPoolExecutor(options.jobs) as pool:
            for index, capacity in enumerate(pool.map(true_capacity, range(len(CONFIGURATIONS)))):
                print(f"{capacity:8.2f}  {name(index)}", flush=True)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        searches = [pool.submit(full, index, 1_000) for index in range(len(CONFIGURATIONS))]
        studies = [pool.submit(study, seed) for seed in range(options.studies)]
        complete = [(index, one.result()) for index, one in enumerate(searches)]
        print("certified  refuted  requests  configuration, searched to its end")
        for index, answer in complete:
            ends = [f"{end:.2f}" if end else "-" for end in (answer.certified, answer.refuted)]
            print(f"{ends[0]:>9s} {ends[1]:>8s} {answer.requests:9,d}  {name(index)}")
        best, rate = winner(complete)
        whole = sum(answer.requests for _, answer in complete)
        fixed = len(CONFIGURATIONS) * FIXED_LEVELS * MLPERF_FLOOR
        print(
            f"full: {whole:,} requests, winner {name(best)} at {rate:.2f}/s, {TRUTH[best] / max(TRUTH):.1%} of the "
            f"best capacity; fixed levels: {fixed:,} requests"
        )
        for seed, future in enumerate(studies):
            answers = future.result()
            index, found = winner(answers)
            spent = PILOT + sum(answer.requests for _, answer in answers)
            cut = [answer.requests for _, answer in answers if answer.cut]
            dropped = f"{len(cut)} dropped after {sorted(cut)[len(cut) // 2] if cut else 0:,} requests (median)"
            same = "same winner" if index == best else f"winner {name(index)}"
            same += f", {TRUTH[index] / max(TRUTH):.1%} of the best capacity"
            print(
                f"study {seed}: {spent:,} requests, {spent / fixed:.2f} of fixed levels, {spent / whole:.2f} of full; "
                f"{dropped}; {same} at {found:.2f}/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
