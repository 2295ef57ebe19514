"""A stored study that searched for the capacity of servers on virtual time: real searches, records and verdicts."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from autotuner.benchmarks.capacity.question import question_about
from autotuner.benchmarks.capacity.run import CapacityRun, Place
from autotuner.capacity.bounds import bounds_of, limits_of
from autotuner.scoring import score
from autotuner.store.paths import trial_folder
from autotuner.study.capacity.result import CapacityResult
from autotuner.study.configuration import Configuration
from autotuner.study.launch import Labels
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import CapacityLoad
from autotuner.study_file.loader import parse_study
from autotuner.testing.benchmark_kit import UrlEndpoint
from autotuner.testing.samples import Sample
from autotuner.tuning.trials.capacity_window import at_capacity
from support.stored_samples import store_trials
from support.virtual_levels import VirtualBenchmark, VirtualSettings

STUDY = """
name: chat-capacity
model: tiny
engine: {kind: simulated, flavor: sglang, gpu: RTX-4090}
parameters: {max-running-requests: [4, 16]}
workload: {scenarios: "D(10,2)", load: capacity, precision: 50%, confidence: 80%}
objective: max capacity
slo: p90 ttft <= 150ms
confirm: {repeats: 0}
"""
_SLOTS = (8, 16, 4)
"""Of the default and of the two configurations."""
_REQUESTS = (2_500, 2_500, 40)
"""Requests of each search; the last one cannot decide anything with them."""
_STARTS = (60.0, 120.0, 60.0)
"""First load of each search, in requests per second."""


def store_capacity_study(requests: Sequence[int] = _REQUESTS) -> Sample:
    """Stores it as its run would have, with as many trials as budgets of requests are given."""
    spec = parse_study(STUDY, source="study.yaml", folder=Path("/")).spec
    trials = tuple(_trial(spec, number, most) for number, most in enumerate(requests))
    sample = Sample(spec=spec, state="done", why="all trials", trials=trials)
    store_trials(sample, sample.trials)
    return sample


def _trial(spec: StudySpec, number: int, requests: int) -> Trial:
    (scenario,) = spec.workload.scenarios
    (load,) = spec.workload.levels
    assert isinstance(load, CapacityLoad)
    found = anyio.run(_search, spec, number, requests)
    measured = (at_capacity(found, load, 0),)
    expected = [(scenario.text, load)]
    return Trial(
        study=spec.name,
        number=number,
        role=TrialRole.SEARCH if number else TrialRole.DEFAULT,
        configuration=Configuration(values={"max-running-requests": _SLOTS[number]} if number else {}),
        state=TrialState.DONE,
        measurements=measured,
        capacities=(found,),
        verdict=score(measured, spec.objectives, spec.slos, min_success_rate=spec.min_success_rate, expected=expected),
        resolved={"simulated": True},
        phases={"loading": 1.0, "measuring": 20.0},
        created_at=100.0 * number,
        started_at=100.0 * number,
        finished_at=100.0 * number + 21,
    )


async def _search(spec: StudySpec, number: int, requests: int) -> CapacityResult:
    (scenario,) = spec.workload.scenarios
    (load,) = spec.workload.levels
    assert isinstance(load, CapacityLoad)
    folder = trial_folder(spec.name, number)
    folder.mkdir(parents=True)
    bounds = bounds_of(limits_of(spec.slos), spec.min_success_rate)
    limited = load.model_copy(update={"max_requests": requests})
    question = question_about(limited, bounds, spec.slos, _STARTS[number])
    place = Place(Labels(study=spec.name, trial=number, owner="o"), folder, "records-0-0")
    benchmark = VirtualBenchmark(VirtualSettings(slots=_SLOTS[number]))
    return await CapacityRun(benchmark, UrlEndpoint("http://x"), spec.workload, scenario, question, place).measure()
