"""How an earlier study is related to a new one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotuner.plugins.engine import Engine
from autotuner.study.environment_facts import Facts
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Hardware
from autotuner.study.search.beginning import DEFINITIONS, Beginning
from autotuner.study.search.evidence import Facet
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.study.workload import Workload

_NOT_OF_RELEASE = frozenset({"gpu", "gpu_count", "lease_gpus", "model", "start_s", "start_timeout"})
"""Settings of engines that say nothing about the server's speed, or that another facet has."""
_OF_RELEASE = ("server package ", "server program", "image", "runtime")
"""Beginnings of the names of facts about the server's release."""


@dataclass(frozen=True)
class Described:
    """A study, with what its measurements depend on."""

    spec: StudySpec
    engine: Engine
    hardware: Hardware
    world: Facts

    @property
    def facets(self) -> Mapping[Facet, str]:
        """Its model, GPU (or machine), engine and workload, equal for studies that have them in common."""
        machine = self.engine.machine(self.hardware)
        fact = self.world.get("machine")
        host = fact.state if fact is not None else f"{machine.cpus} CPUs"
        model = self.world.get("model")
        settings = {k: v for k, v in self.spec.engine.settings.items() if k not in _NOT_OF_RELEASE}
        releases = [f.state for name, f in sorted(self.world.items()) if name.startswith(_OF_RELEASE)]
        shape = str(self.spec.engine.settings.get("model", ""))
        return {
            Facet.MODEL: " ".join(filter(None, [model.state if model is not None else self.spec.model.path, shape])),
            Facet.GPU: f"{machine.gpu_name} {machine.gpu_memory_gb:.0f} GiB" if machine.gpus else host,
            Facet.ENGINE: " ".join(
                [self.spec.engine.kind, *(f"{k}={v}" for k, v in sorted(settings.items())), *releases]
            ),
            Facet.WORKLOAD: _load_text(self.spec.workload),
        }


def _load_text(workload: Workload) -> str:
    shared = f" prefix={workload.prefix_tokens}" if workload.prefix_tokens else ""
    repeated = " reuse_prompts" if workload.reuse_prompts else ""
    body = json.dumps(dict(workload.extra_body), sort_keys=True, default=str) if workload.extra_body else ""
    scenarios = " ".join(s.text for s in workload.scenarios)
    return f"{workload.api.value} {scenarios}{shared}{repeated}{' ' if body else ''}{body}"


def obstacle(new: StudySpec, old: StudySpec, beginning: Beginning | None) -> str:
    """Why a stored study cannot be learned from, whatever its measurements are; empty if it can. Both have one engine;
    a study with several is one study for each, see :meth:`StudySpec.of_engine`."""
    if old.engine.kind != new.engine.kind or _flavor(old) != _flavor(new):
        return f"another engine ({_engine_text(old)})"
    if beginning is None:
        return "its hardware is not stored: it never began, or was stored by an earlier version"
    if beginning.definitions != DEFINITIONS:
        return "its metrics were defined differently"
    if old.benchmark.kind != new.benchmark.kind:
        return f"measured by {old.benchmark.kind}, not {new.benchmark.kind}"
    if old.workload.api != new.workload.api:
        return f"another API ({old.workload.api.value})"
    for name in ("stream", "ignore_eos", "token_ids"):
        if getattr(old.workload, name) != getattr(new.workload, name):
            return f"measured with {name}: {str(getattr(old.workload, name)).lower()}"
    return ""


def drifted(trials: Sequence[Trial]) -> bool:
    """Whether model, server or machine changed while the study ran."""
    return any(t.failure is not None and t.failure.cause is FailureCause.WORLD_CHANGED for t in trials)


def _flavor(spec: StudySpec) -> object:
    """What the simulated engine stands for."""
    return spec.engine.settings.get("flavor")


def _engine_text(spec: StudySpec) -> str:
    flavor = _flavor(spec)
    return f"{spec.engine.kind} {flavor}" if flavor else spec.engine.kind
