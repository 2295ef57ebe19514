"""What a search learns of a study before its first trial."""

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING

from autotuner.errors import Problem, UsageError
from autotuner.manifests.image_name import image_name
from autotuner.plugins import loading
from autotuner.plugins.search import Search, SearchContext
from autotuner.study.base import value_text
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.engines import ENGINE
from autotuner.study.parameters.environment import variables_in
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.goals import Goals
from autotuner.study.search.release import Release
from autotuner.study.spec import EngineEntry

if TYPE_CHECKING:
    from autotuner.tuning.planning.prepared_study import Prepared


def new_search(prepared: "Prepared", evidence: Evidence = NO_EVIDENCE) -> Search:
    """A new search of the study, which knows no trials yet. Refuses a rule for stopping that it cannot follow."""
    made = loading.search(prepared.spec.search, search_context(prepared, evidence))
    if prepared.spec.search.stop is None:
        return made
    if not made.bounds_gain:
        why = f"strategy {made.kind} cannot tell how much better other configurations can be"
        raise UsageError(Problem(where="search.stop", why=why, remedy="use strategy: calibrated, or remove stop"))
    if len(prepared.spec.objectives) > 1:
        why = "with several objectives, there is no single gain that could remain"
        raise UsageError(Problem(where="search.stop", why=why, remedy="remove stop, or keep one objective"))
    return made


_BETWEEN = re.compile(r"(?<=\d)[-_](?=\d)")
"""Stands for a period, which names of engines cannot have."""


def _release(entry: EngineEntry) -> Release | None:
    """The release of one of several engines, by its image, or else by its name in the study, such as ``vllm-0-11``."""
    image, tag = (entry.deploy.settings.get(key) for key in ("image", "image_tag"))
    names = (image_name(image, tag, entry.engine.kind) or "", _BETWEEN.sub(".", entry.name))
    every = (Release.named(name, entry.engine.kind) for name in names)
    return next((r for r in every if r is not None), None)


def search_context(prepared: "Prepared", evidence: Evidence = NO_EVIDENCE) -> SearchContext:
    """The problem of the study's search, with what earlier studies measured."""
    spec = prepared.spec
    releases = {entry.name: _release(entry) for entry in spec.engines}

    def gpus(configuration: Configuration) -> int:
        try:
            return prepared.gpus(configuration)
        except UsageError:
            return 0  # values that the engine refuses; they are not launched

    def forecast(configuration: Configuration) -> Forecast | None:
        try:
            return prepared.forecast(configuration)
        except UsageError:
            return None

    def loading(configuration: Configuration) -> Hashable:
        engine = prepared.of(configuration)
        own = prepared.own(configuration)
        try:
            loaded = engine.engine.loads(engine.values(own))
        except UsageError:
            return configuration.key
        variables = variables_in(engine.spec.as_flags(own).values)
        return spec.engine_name(configuration), loaded, frozenset(variables.items())

    def server(configuration: Configuration) -> Hashable:
        engine = prepared.of(configuration)
        changing = engine.engine.runtime_flags
        own = prepared.own(configuration)
        tuned = engine.spec.as_flags(own).values
        changed = frozenset(engine.engine.canonical(n) for n, v in tuned.items() if v is not None) & changing
        if not changed:
            return None
        try:
            values = engine.values(own)
        except UsageError:
            return None
        same = frozenset((n, value_text(v)) for n, v in values.items() if n not in changing)
        return spec.engine_name(configuration), same, frozenset(variables_in(tuned).items()), changed

    return SearchContext(
        space=prepared.space,
        directions=tuple(o.direction for o in spec.objectives),
        seed=spec.search.seed,
        trials=spec.search.trials,
        valid=prepared.valid,
        identity=prepared.identity,
        default=prepared.default,
        goals=Goals.of(spec.objectives, spec.slos, spec.workload),
        gpus=gpus,
        release=lambda c: releases.get(str(c.values.get(ENGINE))),
        loading=loading,
        server=server,
        forecast=forecast,
        starts=prepared.starts,
        evidence=evidence,
    )
