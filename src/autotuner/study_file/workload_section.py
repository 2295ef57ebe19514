"""``workload`` of a study file, and what objectives and SLOs refer to in it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from autotuner.study.endpoint_metrics import why_not_measured
from autotuner.study.metric import CAPACITY_METRICS, PER_GPU
from autotuner.study.objective import SLO, Objective
from autotuner.study.text.slices import slice_names
from autotuner.study.workload import (
    CapacityLoad,
    Concurrency,
    LoadLevel,
    LoadUnit,
    Scenario,
    TraceSpeed,
    Users,
    Workload,
)
from autotuner.study_file.forms import WorkloadForm
from autotuner.study_file.located_document import Document


def workload_of(form: WorkloadForm, resolved: Callable[[str], str]) -> Workload:
    """The workload.

    Args:
        form: The section.
        resolved: Makes the path of a dataset or tokenizer absolute.
    """
    return Workload(
        api=form.api,
        scenarios=tuple(_resolved(scenario, resolved) for scenario in form.scenarios),
        levels=_levels(form),
        warmup_s=form.warmup,
        duration_s=form.duration,
        max_duration_s=None if form.load else form.max_duration,
        min_requests=form.min_requests,
        requests=form.requests,
        request_timeout_s=form.request_timeout,
        seed=form.seed,
        reuse_prompts=form.reuse_prompts,
        stream=form.stream,
        token_ids=form.token_ids,
        prefix_tokens=form.prefix_tokens,
        ignore_eos=form.ignore_eos,
        extra_body=form.extra_body,
        tokenizer=resolved(form.tokenizer) if form.tokenizer else None,
    )


def _levels(form: WorkloadForm) -> tuple[LoadLevel, ...]:
    if form.load:
        budget = {} if form.max_duration is None else {"max_duration_s": form.max_duration}
        replayed = any(scenario.trace for scenario in form.scenarios)
        return (
            CapacityLoad(
                unit=form.unit or (LoadUnit.SPEED if replayed else LoadUnit.RATE),
                precision=form.precision,
                confidence=form.confidence,
                low=form.low,
                high=form.high,
                max_requests=form.max_requests,
                **budget,
            ),
        )
    closed: list[LoadLevel] = [Concurrency(in_flight=n) for n in form.concurrency]
    closed += [Users(count=n) for n in form.users]
    speeds = form.speeds or ([1.0] if any(s.trace for s in form.scenarios) else [])
    return (*closed, *form.rates, *form.stages, *(TraceSpeed(speed=speed) for speed in speeds))


def _resolved(scenario: Scenario, resolved: Callable[[str], str]) -> Scenario:
    if scenario.mix:
        parts = (part.model_copy(update={"scenario": _resolved(part.scenario, resolved)}) for part in scenario.mix)
        return scenario.model_copy(update={"mix": tuple(parts)})
    if scenario.dataset:
        return scenario.model_copy(update={"dataset": resolved(scenario.dataset)})
    if scenario.trace:
        part = scenario.trace.model_copy(update={"file": resolved(scenario.trace.file)})
        return scenario.model_copy(update={"trace": part})
    return scenario


def check_prefix(workload: Workload, document: Document) -> None:
    """Adds a problem for a shared prefix together with a dataset or a trace, whose prompts are sent unchanged, or with
    a scenario that has prefixes of its own.

    Args:
        workload: The study's workload.
        document: Takes the problem.
    """
    parts = [part for scenario in workload.scenarios for part in scenario.parts]
    datasets = [part.text for part in parts if part.dataset or part.trace]
    if workload.prefix_tokens and datasets:
        document.fault(
            ("workload", "prefix_tokens"),
            f"cannot be added to the prompts of {datasets[0]}",
            value=str(workload.prefix_tokens),
            remedy="remove it, or put the prefix into the file",
        )
    prefixed = [part.text for part in parts if part.prefixes]
    if workload.prefix_tokens and prefixed:
        document.fault(
            ("workload", "prefix_tokens"),
            f"cannot be combined with the prefixes of {prefixed[0]}",
            value=str(workload.prefix_tokens),
            remedy="remove it, or make the scenario's prefixes longer",
        )


def check_endpoint(key: str, bounds: Sequence[Objective | SLO], workload: Workload, document: Document) -> None:
    """Adds a problem for each objective or SLO that the workload's endpoint cannot have; arguments as for
    :func:`check_places`."""
    for index, bound in enumerate(bounds):
        found = why_not_measured(bound.metric, workload)
        if found is not None:
            why, remedy = found
            path = (key, index) if isinstance(document.data.get(key), list) else (key,)
            document.fault(path, f"{bound.metric} cannot be measured: {why}", value=bound.text, remedy=remedy)


_Goal = TypeVar("_Goal", Objective, SLO)


def of_unit(goal: _Goal, workload: Workload) -> _Goal:
    """The goal; ``capacity`` becomes the metric of what the workload's capacity search counts."""
    for level in workload.levels:
        if isinstance(level, CapacityLoad) and level.unit is not LoadUnit.RATE and goal.metric in _OF_RATE:
            metric = goal.metric.replace(CAPACITY_METRICS[LoadUnit.RATE], CAPACITY_METRICS[level.unit])
            return goal.model_copy(update={"metric": metric})
    return goal


_OF_RATE = frozenset({CAPACITY_METRICS[LoadUnit.RATE], CAPACITY_METRICS[LoadUnit.RATE] + PER_GPU})


def check_places(key: str, bounds: Sequence[Objective | SLO], workload: Workload, document: Document) -> None:
    """Adds a problem for each objective or SLO whose load level or scenario the workload does not have.

    Args:
        key: ``objective`` or ``slo``.
        bounds: What stands under it, in order.
        workload: The study's workload.
        document: Takes the problems.
    """
    levels = [level.text for level in workload.levels]
    scenarios = [scenario.text for scenario in workload.scenarios]
    places = [(scenario, level) for scenario in workload.scenarios for level in workload.levels]
    for index, bound in enumerate(bounds):
        path = (key, index) if isinstance(document.data.get(key), list) else (key,)
        if bound.at and bound.at not in levels:
            remedy = f"the workload has {', '.join(levels)}"
            document.fault(path, f"no load level {bound.at}", value=bound.text, remedy=remedy)
        if bound.scenario and bound.scenario not in scenarios:
            remedy = f"the workload has {', '.join(scenarios)}"
            document.fault(path, f"no scenario {bound.scenario}", value=bound.text, remedy=remedy)
        if isinstance(bound, SLO) and bound.of:
            for scenario, level in places:
                here = bound.at in (None, level.text) and bound.scenario in (None, scenario.text)
                names = slice_names(scenario, level)
                if here and bound.of not in names:
                    why = f"{scenario.text} at {level.text} has no {bound.of}"
                    remedy = f"it has {', '.join(names)}" if names else f'remove "of {bound.of}"'
                    document.fault(path, why, value=bound.text, remedy=remedy)
                    break
