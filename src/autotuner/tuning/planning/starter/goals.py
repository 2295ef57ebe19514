"""What a starter study is for: the load that it measures, its objective and its SLOs."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autotuner.study.text.forms import parse_scenario

_LONGER = 8
"""How many times as long prompts are in a study of long ones."""
MOST = "max output_throughput"


class StarterGoal(StrEnum):
    """Purposes of a starter study."""

    THROUGHPUT = "throughput"
    """Most tokens per second within a bound on the TTFT."""
    LATENCY = "latency"
    """Fastest answers for few users."""
    LONG_PROMPTS = "long-prompts"
    """Most tokens per second with prompts of thousands of tokens."""
    CAPACITY = "capacity"
    """Highest request rate within the SLOs."""
    COST = "cost"
    """Lowest price of a token within a bound on the TTFT."""


@dataclass(frozen=True)
class GoalLines:
    """The parts of a starter file that follow from its goal."""

    scenario: str
    concurrency: tuple[int, ...]
    """Load levels; empty: the load is searched for."""
    window: tuple[str, ...]
    """Further keys of the workload, as YAML."""
    objective: str
    """With a comment."""
    slos: tuple[str, ...]
    trials: int = 12
    priced: bool = False
    """Whether the objective needs the prices of servers."""


def goal_lines(goal: StarterGoal, scenario: str, concurrency: Sequence[int]) -> GoalLines:
    """The parts for a goal.

    Args:
        goal: The purpose.
        scenario: The engine's usual scenario, such as ``D(512,128)``.
        concurrency: Its usual load levels.
    """
    levels = tuple(concurrency)
    window: tuple[str, ...] = ("warmup: 2s", "duration: 20s")
    match goal:
        case StarterGoal.LATENCY:
            objective = "min p90 e2e_latency   # or: min p99 ttft, min mean tpot"
            return GoalLines(scenario, (1, 4), window, objective, ())
        case StarterGoal.LONG_PROMPTS:
            window = ("warmup: 5s", "duration: 30s")
            slos = ("p99 ttft <= 5s",)
            return GoalLines(_longer(scenario), (1, 8), window, MOST, slos)
        case StarterGoal.CAPACITY:
            window = ("load: capacity   # finds the highest request rate at which the SLOs hold",)
            return GoalLines(scenario, (), window, "max capacity", ("p90 ttft <= 1s",), trials=8)
        case StarterGoal.COST:
            objective = "min cost_per_million_output_tokens"
            return GoalLines(scenario, levels, window, objective, ("p99 ttft <= 2s",), priced=True)
        case _:
            objective = f"{MOST}   # or: min p99 ttft at concurrency=8"
            return GoalLines(scenario, levels, window, objective, ("p99 ttft <= 2s",))


def _longer(scenario: str) -> str:
    """The scenario with prompts that are longer; itself if it is not one of prompts and answers."""
    usual = parse_scenario(scenario)
    if usual.input is None or usual.output is None:
        return scenario
    return f"D({round(usual.input.mean) * _LONGER},{round(usual.output.mean)})"
