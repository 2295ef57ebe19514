"""The study file's content, as one frozen noun."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from autotuner.study.base import Noun, Value
from autotuner.study.metric import METRICS
from autotuner.study.objective import SLO, Objective
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.workload import Workload

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""Names of studies."""


class Model(Noun):
    """The served model."""

    path: str
    """File, folder or hub id, as the engine takes it."""
    name: str | None = None
    """Served name (``model`` in requests); None: the engine's choice."""

    @property
    def local(self) -> bool:
        """Whether ``path`` is a file or folder of the target; else it is a hub's id."""
        return is_local(self.path)


def is_local(path: str) -> bool:
    """Whether a model's path is a file or folder: it starts with ``/``, ``~`` or a dot."""
    return path.startswith(("/", "~", "./", "../")) or path in {".", ".."}


class PluginSpec(Noun):
    """A plugin by ``kind``, with its own settings beside it; these are checked by the plugin's settings model."""

    model_config = ConfigDict(extra="allow")

    kind: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but ``kind``."""
        return dict(self.__pydantic_extra__ or {})


class EngineSpec(PluginSpec):
    """The inference server; ``args`` and ``env`` apply to every trial, the default's included."""

    args: Mapping[str, Value] = Field(default_factory=dict)
    env: Mapping[str, str] = Field(default_factory=dict)


class SearchSpec(PluginSpec):
    """How the space is searched, and when to stop. Times in seconds."""

    kind: str = "bayesian"
    trials: int = Field(default=20, ge=1)
    """Configurations to launch, the default's (trial 0) included; confirmations come on top."""
    seed: int = 0
    time_s: float | None = Field(default=None, gt=0)
    gpu_hours: float | None = Field(default=None, gt=0)
    parallel: int = Field(default=1, ge=1)
    trial_timeout_s: float | None = Field(default=None, gt=0)
    """Longest time for one trial, launch and measuring together."""
    max_environment_faults: int = Field(default=3, ge=1)
    """Consecutive environment faults after which the study stops."""


class ConfirmSpec(Noun):
    """The proof: the default and its best challengers measured again, interleaved and alone."""

    repeats: int = Field(default=3, ge=0)
    """Launches of each; 0 leaves the proof out, and below 2 nothing can be proven."""
    challengers: int = Field(default=3, ge=1)
    """The best configurations of the search that are measured again beside the default; those that fall clearly behind
    are dropped after each round."""


class StudySpec(Noun):
    """One tuning job."""

    name: str = Field(pattern=f"^{NAME_PATTERN}$")
    model: Model
    engine: EngineSpec
    deploy: PluginSpec
    benchmark: PluginSpec = PluginSpec(kind="native")
    parameters: tuple[Parameter, ...] = ()
    combinations: tuple[Mapping[str, Value], ...] = ()
    """Points given one by one, each with a value of every parameter; empty: all combinations of the parameters' values
    are the space."""
    constraints: tuple[str, ...] = ()
    workload: Workload
    objectives: tuple[Objective, ...] = Field(min_length=1)
    slos: tuple[SLO, ...] = ()
    min_success_rate: float = Field(default=0.99, ge=0, le=1)
    search: SearchSpec = SearchSpec()
    confirm: ConfirmSpec = ConfirmSpec()

    @property
    def measured(self) -> dict[str, Any]:
        """What a measurement consists of. Trials of one study have to agree in it; parameters, constraints, objectives,
        SLOs, budgets and the proof may change while results are kept. SLOs on each request belong to it: a window's
        goodput is counted by them."""
        data = self.model_dump(mode="json", include={"model", "engine", "deploy", "benchmark", "workload"})
        for section, names in _INCIDENTAL.items():
            data[section] = {key: value for key, value in data[section].items() if key not in names}
        of_requests = [s for s in self.slos if METRICS[s.metric].distribution and s.statistic is None]
        return {**data, "slos on each request": sorted(s.text for s in of_requests)}

    @property
    def digest(self) -> str:
        """Identity of what is measured; see :attr:`measured`."""
        return f"m-{hashlib.sha256(json.dumps(self.measured, sort_keys=True).encode()).hexdigest()[:16]}"

    @property
    def first_digest(self) -> str:
        """The identity as versions stored it that pinned all but budgets and proof."""
        data = self.model_dump(mode="json", exclude={"search", "confirm"})
        if not self.combinations:  # studies of earlier versions lack it, and are the same
            del data["combinations"]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


_INCIDENTAL = {
    "engine": frozenset({"start_timeout"}),
    "deploy": frozenset({"ports", "stop_grace", "start_timeout"}),
}
"""Settings that no figure depends on; people change them when a launch fails."""
