"""Objectives and SLOs that no trial of a study could measure.

A value missing from a window makes its trial unusable, so such a study would finish all its launches without a result.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotuner.errors import Problem, UsageError
from autotuner.plugins.deployer import Deployer, ReadsGpuSensors
from autotuner.scoring.cost import ANY, HOST, gpu_price, usd_per_hour
from autotuner.study.check import Check
from autotuner.study.endpoint_metrics import why_not_measured
from autotuner.study.launch import Hardware
from autotuner.study.metric import CAPACITY_METRICS, COST_METRICS, GPU_METRICS, METRICS, OF_CAPACITY, PER_GPU
from autotuner.study.objective import SLO, Objective
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad, Concurrency, LoadLevel, Scenario, TokenLengths, Workload
from autotuner.tuning.planning.capacity_checks import capacity_problems
from autotuner.tuning.planning.missing_gpus import Needs, needed_gpus
from autotuner.tuning.planning.study_size import CHECKED_POINTS

if TYPE_CHECKING:
    from autotuner.tuning.planning.prepared_study import Prepared

_BETWEEN_TOKENS = frozenset({"tpot", "itl", "itl_token"})
_OF_ARRIVALS = frozenset({"ttft_scheduled", "e2e_latency_scheduled"})


@dataclass(frozen=True)
class _Goal:
    """An objective or an SLO with its path in the study file."""

    where: str
    asked: Objective | SLO
    places: tuple[tuple[Scenario, LoadLevel], ...]
    """Scenarios and load levels of the workload that it applies to."""

    @property
    def of_each_request(self) -> bool:
        """Whether it bounds each request, which only counts in goodput."""
        return METRICS[self.asked.metric].distribution and self.asked.statistic is None

    def problem(self, why: str, remedy: str) -> Problem:
        """The problem with this goal."""
        return Problem(where=self.where, value=self.asked.text, why=why, remedy=remedy)


def check_metrics(prepared: "Prepared") -> None:
    """Refuses goals that no trial could measure: the study would end without a result."""
    spec = prepared.spec
    gpus = prepared.engine.gpus(prepared.values(prepared.reference)) if prepared.hardware.gpus else 0
    problems = unmeasurable(spec, prepared.deployer, gpus)
    if COST_METRICS & {*(o.metric for o in spec.objectives), *(s.metric for s in spec.slos)}:
        problems += _unpriced(prepared)
    if problems := [*problems, *capacity_problems(spec, prepared.benchmark)]:
        raise UsageError(problems)


def _unpriced(prepared: "Prepared") -> list[Problem]:
    spec = prepared.spec
    unknown = prepared.missing_gpus is not None or prepared.hardware_assumed
    if unknown and any(kind != HOST for kind in spec.prices):  # a plan does not know the GPUs
        return []
    needs = Needs(0, 0, 0)
    if prepared.deployer.launches:
        needs = needed_gpus(prepared.engine, prepared.fixed, spec.parameters, spec.baseline, priced=True)
    size = prepared.space.size
    points = prepared.space.grid() if size is not None and size <= CHECKED_POINTS else None
    costs = None if points is None else (prepared.usd_per_hour(c) for c in points if prepared.valid(c))
    return unpriced_in_space(spec, prepared.engine.machine(prepared.hardware), needs, costs)


def unmeasurable(spec: StudySpec, deployer: Deployer, gpus: int) -> list[Problem]:
    """One problem for each objective and SLO that cannot be measured. ``gpus`` is the default's number of GPUs."""
    goals = [*_goals("objective", spec.objectives, spec.workload), *_goals("slo", spec.slos, spec.workload)]
    problems = []
    for goal in goals:
        found = next((p for check in _CHECKS for p in check(goal, spec)), None) or _on_gpus(goal, deployer, gpus)
        if found is not None:
            problems.append(found)
    return problems


def _goals(section: str, asked: Sequence[Objective | SLO], workload: Workload) -> Iterator[_Goal]:
    for index, goal in enumerate(asked):
        places = [
            (scenario, level)
            for scenario in workload.scenarios
            for level in workload.levels
            if goal.scenario in {None, scenario.text} and goal.at in {None, level.text}
        ]
        yield _Goal(section if len(asked) == 1 else f"{section}[{index}]", goal, tuple(places))


def _somewhere(goal: _Goal, spec: StudySpec) -> Iterator[Problem]:
    if not goal.places:
        there = [f"{s.text} at {level.text}" for s in spec.workload.scenarios for level in spec.workload.levels]
        yield goal.problem("names a scenario or load level that the workload lacks", f"it has {', '.join(there)}")


def _with_a_statistic(goal: _Goal, spec: StudySpec) -> Iterator[Problem]:
    if isinstance(goal.asked, Objective) and goal.of_each_request:
        name = goal.asked.metric
        yield goal.problem(f"{name} has one value per request, so it needs a statistic", f"write e.g. p99 {name}")


def _between_tokens(goal: _Goal, spec: StudySpec) -> Iterator[Problem]:
    if goal.asked.metric in _BETWEEN_TOKENS:
        for scenario, _ in goal.places:
            if scenario.output is not None and _longest(scenario.output) == 1:
                why = f"{scenario.text} asks for answers of one token, and {goal.asked.metric} is the time between two"
                yield goal.problem(why, "ask for longer answers, or use ttft or e2e_latency")


def _of_the_endpoint(goal: _Goal, spec: StudySpec) -> Iterator[Problem]:
    if found := why_not_measured(goal.asked.metric, spec.workload):
        yield goal.problem(*found)


def _of_arrivals(goal: _Goal, spec: StudySpec) -> Iterator[Problem]:
    if goal.asked.metric in _OF_ARRIVALS and not goal.of_each_request:
        for _, level in goal.places:
            if isinstance(level, Concurrency):
                plain = goal.asked.metric.removesuffix("_scheduled")
                rates = [other.text for other in spec.workload.levels if not isinstance(other, Concurrency)]
                remedy = f"add at {rates[0]}" if rates and not goal.asked.at else f"use {plain}, or workload.rates"
                yield goal.problem(f"{level.text} is a closed loop, whose requests have no schedule", remedy)


def _of_capacity(goal: _Goal, spec: StudySpec) -> Iterator[Problem]:
    if goal.asked.metric not in OF_CAPACITY:
        return
    for _, level in goal.places:
        if not isinstance(level, CapacityLoad):
            yield goal.problem("measured only by a capacity search", "write load: capacity in the workload")
        elif goal.asked.metric.removesuffix(PER_GPU) not in (CAPACITY_METRICS[level.unit], "capacity_tokens"):
            yield goal.problem(f"the workload has unit: {level.unit.value}", "use capacity, or change the unit")


def _of_good_requests(goal: _Goal, spec: StudySpec) -> Iterator[Problem]:
    if goal.asked.metric == "goodput" and not any(slo.bounds_each_request for slo in spec.slos):
        why = "counts requests that meet every per-request SLO, but the study has no such SLO"
        yield goal.problem(why, 'add one without a statistic, e.g. "ttft <= 300ms", or use request_throughput')


_CHECKS: tuple[Callable[[_Goal, StudySpec], Iterator[Problem]], ...] = (
    _somewhere,
    _with_a_statistic,
    _of_the_endpoint,
    _between_tokens,
    _of_arrivals,
    _of_capacity,
    _of_good_requests,
)


def _on_gpus(goal: _Goal, deployer: Deployer, gpus: int) -> Problem | None:
    if goal.asked.metric not in GPU_METRICS:
        return None
    if not deployer.launches or not gpus:
        why = "measured only on GPUs that trials lease, and the default has none"
        return goal.problem(why, "use output_throughput, or a target with GPUs")
    if goal.asked.metric == "energy_per_token" and not isinstance(deployer, ReadsGpuSensors):
        why = f"{deployer.kind} cannot read the sensors of the GPUs"
        return goal.problem(why, "use output_throughput_per_gpu, or deploy with process or docker")
    return None


def unpriced_in_space(
    spec: StudySpec, machine: Hardware, needs: Needs, costs: Iterable[float | None] | None
) -> list[Problem]:
    """Problems of :func:`unpriced` for the default, or for other configurations if the default has a price: these may
    use GPUs where the default uses none, or the reverse. Without a price, a trial has no cost and no rank.

    Args:
        spec: The study.
        machine: The target's hardware as the engine sees it.
        needs: GPUs that have to be paid for.
        costs: Cost of each configuration that may be launched; None if there are too many.
    """
    if found := unpriced(spec, machine.gpu_name, needs.default):
        return found
    for count in (needs.least, min(needs.most, machine.gpus)):
        found = unpriced(spec, machine.gpu_name, count, default=False)
        if found and (costs is None or None in costs):
            return found
    return []


def unpriced(spec: StudySpec, gpu_name: str, gpus: int, *, default: bool = True) -> list[Problem]:
    """One problem for each goal on a cost that the prices do not give.

    Args:
        spec: The study.
        gpu_name: Name of the target's GPUs; empty if they are of several kinds, or not known.
        gpus: Number of GPUs that a configuration uses.
        default: Whether that configuration is the default.
    """
    if usd_per_hour(spec.prices, gpu_name, gpus) is not None:
        return []
    kind = _short_name(gpu_name) if gpus else HOST
    what = (gpu_name or "the target's GPUs") if gpus else "the host"
    key = f'"{ANY}"' if kind == ANY else kind
    if not default:
        what += f", for configurations {'with' if gpus else 'without'} GPUs"
    goals = [*_goals("objective", spec.objectives, spec.workload), *_goals("slo", spec.slos, spec.workload)]
    return [
        goal.problem(f"needs a price for {what}", f"add prices: {{{key}: ...}}")
        for goal in goals
        if goal.asked.metric in COST_METRICS
    ]


def unmatched_prices(prepared: "Prepared", site: Collection[str]) -> list[Check]:
    """Warnings about prices that no server of the study has: they have no effect, perhaps because of a typo.

    Args:
        prepared: The study.
        site: Kinds of GPUs that the site file prices, for other studies too.
    """
    names = list[str]()
    for own in prepared.by_engine.values():
        machine = own.engine.machine(own.hardware)
        if not own.deployer.launches or not machine.gpus:
            continue
        if own.missing_gpus is not None or own.hardware_assumed or not machine.gpu_name:
            return []  # it is not known which GPUs there are
        names.append(machine.gpu_name)
    have = f"; it has {', '.join(dict.fromkeys(names))}" if names else ", which uses none"
    remedy = "correct or remove it" if names else f"write {HOST}, for a server without GPUs, or remove it"
    return [
        Check.warn("prices", f"{kind} matches no GPU of the study{have}", remedy=remedy)
        for kind in prepared.spec.prices
        if kind not in (ANY, HOST, *site) and all(gpu_price({kind: 1.0}, name) is None for name in names)
    ]


def _short_name(gpu_name: str) -> str:
    """What tells a GPU apart in a driver's name: ``H100`` of ``NVIDIA H100 80GB HBM3``."""
    words = [w for w in gpu_name.split() if any(c.isdigit() for c in w) and any(c.isalpha() for c in w)]
    return next(iter(words), gpu_name.removeprefix("NVIDIA ") or ANY)


def _longest(length: TokenLengths) -> int | None:
    """The longest answer in tokens; None if any length may occur."""
    if length.kind == "normal":
        return length.a if length.b == 0 else None
    return max(length.a, length.b)


def idle_bounds(spec: StudySpec) -> list[Problem]:
    """Warnings about per-request bounds in a study without goodput, the only metric that uses them."""
    asked: list[Objective | SLO] = [*spec.objectives, *spec.slos]
    if any(goal.metric == "goodput" for goal in asked):
        return []
    why = "bounds each request, which only counts in goodput, and goodput is neither objective nor SLO"
    idle = [slo for slo in spec.slos if slo.bounds_each_request]
    return [Problem(where="slo", value=s.text, why=why, remedy=f"write e.g. p99 {s.text}") for s in idle]
