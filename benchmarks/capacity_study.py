"""Benchmark of a study of capacity: 12 configurations of the simulated SGLang, in virtual time.

    python benchmarks/capacity_study.py [--space clear|close] [--studies 4] [--jobs 2] [--truth]

Each configuration is searched for its highest rate at which 1% of the requests take longer than 2 s, with 10% precision
and 95% confidence. ``full`` searches every configuration to its end. ``study`` does what a study does: the first one is
searched to its end, and each later one must hold 10% more than the best certified rate so far. It is dropped once that
is refuted, or not shown within half of the requests; one that holds it is searched until the certified rate is close to
its capacity. ``fixed`` is a study of fixed levels: eight rates per configuration, each with the 662 requests
that MLPerf's rule needs for a p99. Each study takes the configurations in another order.

In the space ``clear``, the best configuration stands out by more than the precision: every study must find it. In
``close``, six are within 6% of one another, which 10% precision does not tell apart: a winner must be within the
precision of the best. What is true comes from long runs (``--truth`` repeats them, about 20 minutes per space).

Exit code 1 if a study has another winner, or takes more than twice the requests of fixed levels.
"""

import argparse
import sys
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


@dataclass(frozen=True)
class Space:
    """Configurations of one server, and the capacity of each in requests per second."""

    running: Sequence[int]
    chunks: Sequence[int]
    truth: Sequence[float]
    """By bisection, with 40,000 requests where it is close."""

    @property
    def configurations(self) -> list[SimulatedSGLang]:
        """In the order of ``truth``."""
        return [
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
            for running, chunk in product(self.running, self.chunks)
        ]


SPACES = {
    "clear": Space(
        (2, 4, 8, 16),
        (64, 256, 1024),
        (1.82, 2.37, 2.47, 3.25, 4.85, 5.05, 4.28, 8.13, 8.71, 4.02, 10.89, 12.35),
    ),
    "close": Space(
        (8, 16, 32, 64),
        (256, 1024, 4096),
        (8.13, 8.71, 8.71, 10.89, 12.35, 12.2, 11.15, 12.25, 12.55, 11.11, 11.95, 12.7),
    ),
}
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


def search(space: Space, index: int, seed: int, start: float, required: float | None = None) -> Answer:
    """The capacity of one configuration."""
    server = space.configurations[index]
    random = Random(f"{index} {seed}")
    found = CapacitySearch(Limits(max_requests=BUDGET, alpha=ALPHA), start, required=required)
    finish(found, server, ALPHA, random)
    return Answer(found.certified, found.refuted, found.spent, found.cut)


def full(space: Space, index: int, seed: int) -> Answer:
    """A search without knowledge of other configurations."""
    return search(space, index, seed, FIRST_LOAD)


def study(space: Space, seed: int) -> list[tuple[int, Answer]]:
    """All configurations, one after the other, in an order of this study's own."""
    order = list(range(len(space.truth)))
    Random(seed).shuffle(order)
    answers: list[tuple[int, Answer]] = []
    best = None
    for index in order:
        answer = search(space, index, seed, best or FIRST_LOAD, best and best * (1 + PRECISION))
        answers.append((index, answer))
        if answer.certified is not None and not answer.cut:
            best = max(best or 0.0, answer.certified)
    return answers


def winner(answers: Sequence[tuple[int, Answer]]) -> tuple[int, float]:
    """The configuration with the highest certified rate, and that rate."""
    ranked = [(answer.certified, index) for index, answer in answers if answer.certified and not answer.cut]
    rate, index = max(ranked)
    return index, rate


def true_capacity(server: SimulatedSGLang) -> float:
    """The rate at which the share of misses passes what is allowed."""
    return crossing(partial(_share_of_misses, server), 0.5, 32.0, rounds=10, rough=6_000, fine=40_000)


def _share_of_misses(server: SimulatedSGLang, rate: float, requests: int) -> float:
    run = server.run(rate, 5)
    run.take(500)
    latencies, _ = run.take(requests)
    return float((latencies > server.limit).mean()) if len(latencies) == requests else 1.0


def name(server: SimulatedSGLang) -> str:
    """The flags that differ."""
    return " ".join(f"{key.removeprefix('--')}={value}" for key, value in list(server.flags.items())[1:])


def main() -> int:
    """Prints each configuration, and each study.

    Returns:
        1 if a study has another winner or costs too much, else 0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--space", choices=SPACES, default="clear", help="which configurations (default: clear)")
    parser.add_argument("--studies", type=int, default=4, help="studies (default: 4)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--truth", action="store_true", help="recompute the table of capacities instead")
    options = parser.parse_args()
    space = SPACES[options.space]
    with ProcessPoolExecutor(options.jobs) as pool:
        if options.truth:
            for server, capacity in zip(
                space.configurations, pool.map(true_capacity, space.configurations), strict=True
            ):
                print(f"{capacity:8.2f}  {name(server)}", flush=True)
            return 0
        searches = [pool.submit(full, space, index, 1_000) for index in range(len(space.truth))]
        studies = [pool.submit(study, space, seed) for seed in range(options.studies)]
        complete = [(index, one.result()) for index, one in enumerate(searches)]
        print_full(space, complete)
        good = [print_study(space, seed, future.result(), complete) for seed, future in enumerate(studies)]
    return 0 if all(good) else 1


def print_full(space: Space, answers: Sequence[tuple[int, Answer]]) -> None:
    """A line per configuration, and what all of them took."""
    print("certified  refuted  requests  configuration, searched to its end")
    for index, answer in answers:
        ends = [f"{end:.2f}" if end else "-" for end in (answer.certified, answer.refuted)]
        print(f"{ends[0]:>9s} {ends[1]:>8s} {answer.requests:9,d}  {name(space.configurations[index])}")
    best, rate = winner(answers)
    whole = sum(answer.requests for _, answer in answers)
    print(
        f"full: {whole:,} requests, winner {name(space.configurations[best])} at {rate:.2f}/s, "
        f"{share_of_best(space, best):.1%} of the best capacity; fixed levels: {fixed_requests(space):,} requests",
        flush=True,
    )


def print_study(
    space: Space, seed: int, answers: Sequence[tuple[int, Answer]], complete: Sequence[tuple[int, Answer]]
) -> bool:
    """A line about one study.

    Returns:
        Whether its winner is the best up to the precision, and it takes at most twice the requests of fixed levels.
    """
    index, found = winner(answers)
    fixed = fixed_requests(space)
    spent = PILOT + sum(answer.requests for _, answer in answers)
    cut = sorted(answer.requests for _, answer in answers if answer.cut)
    same = "same winner" if index == winner(complete)[0] else f"winner {name(space.configurations[index])}"
    print(
        f"study {seed}: {spent:,} requests, {spent / fixed:.2f} of fixed levels, "
        f"{spent / sum(answer.requests for _, answer in complete):.2f} of full; "
        f"{len(cut)} dropped after {cut[len(cut) // 2] if cut else 0:,} requests (median); "
        f"{same}, {share_of_best(space, index):.1%} of the best capacity at {found:.2f}/s",
        flush=True,
    )
    return share_of_best(space, index) * (1 + PRECISION) >= 1 and spent <= 2 * fixed


def share_of_best(space: Space, index: int) -> float:
    """A configuration's true capacity as a share of the highest one."""
    return space.truth[index] / max(space.truth)


def fixed_requests(space: Space) -> int:
    """What a study of fixed levels takes."""
    return len(space.truth) * FIXED_LEVELS * MLPERF_FLOOR


if __name__ == "__main__":
    sys.exit(main())
