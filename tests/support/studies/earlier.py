"""Stored studies of simulated servers, which a new one may learn from."""

import json
from pathlib import Path
from typing import Any

from autotuner.store import Store
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.environment_facts import Fact, Facts
from autotuner.study.launch import Hardware
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.search.beginning import Beginning
from autotuner.study.search.evidence import NO_EVIDENCE
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency
from autotuner.study_file.loader import parse_study
from autotuner.testing.search_kit import made

GPU = Hardware(cpus=8, memory_gb=64, gpus=8)
BEGINNING = Beginning(hardware=GPU)
WORLD = {"server package vllm": Fact(state="vllm-0.11.0")}


def study(**changes: Any) -> dict[str, Any]:
    """A study file; keywords replace sections, and None removes one."""
    found = {
        "name": "new",
        "model": "m",
        "engine": {"kind": "simulated", "flavor": "vllm", "gpu": "H100", "gpu_count": 8, "model": "Llama-3.1-8B"},
        "parameters": {"tensor-parallel-size": [1, 2], "max-num-seqs": [16, 64, 256]},
        "workload": {"scenarios": ["D(100,10)"], "concurrency": [4, 16]},
        "objective": "max output_throughput",
        "slo": ["mean tpot <= 20ms"],
        "search": "calibrated",
    }
    return {name: value for name, value in {**found, **changes}.items() if value is not None}


def spec_of(**changes: Any) -> StudySpec:
    """The study of :func:`study`."""
    return parse_study(json.dumps(study(**changes)), source="study.yaml", folder=Path("/")).spec


def window(in_flight: int, **changes: Any) -> Measurement:
    """A sound window of one of the study's levels."""
    others = dict.fromkeys(("std", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"))
    mean = Distribution.model_validate({**others, "count": 50, "mean": 0.01})
    facts: dict[str, Any] = {
        "scenario": "D(100,10)",
        "level": Concurrency(in_flight=in_flight),
        "window_s": 30.0,
        "requests": 50,
        "failed": 0,
        "distributions": {"ttft": mean, "tpot": mean},
        "scalars": {"output_throughput": 100.0 * in_flight},
    }
    return Measurement(**{**facts, **changes})


def trial(number: int, values: dict[str, Any], *windows: Measurement, **changes: Any) -> Trial:
    """A finished trial of ``old``; without values, its default."""
    own = made(number, Configuration(values=values)) if values else made(number, DEFAULT, role=TrialRole.DEFAULT)
    facts = {"measurements": windows or (window(4), window(16)), "resolved": {"simulated": True}, "gpus": 1}
    return own.replaced(study="old", **{**facts, **changes})


def add(
    store: Store, *trials: Trial, beginning: Beginning | None = BEGINNING, world: Facts = WORLD, **changes: Any
) -> None:
    """Stores a finished study ``old`` with these trials, or with two."""
    spec = spec_of(**{"name": "old", **changes})
    store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
    store.studies.set_state(spec.name, "done", None, 1.0)
    store.studies.set_world(spec.name, world)
    if beginning is not None:
        store.studies.begin(spec.name, beginning, NO_EVIDENCE)
    for one in trials or (trial(0, {}), trial(1, {"tensor-parallel-size": 2, "max-num-seqs": 64}, gpus=2)):
        stored = store.trials.add(one.replaced(study=spec.name, state=TrialState.QUEUED), owner_id="o")
        store.trials.finish(one.replaced(study=spec.name, number=stored.number, finished_at=2.0), {})
