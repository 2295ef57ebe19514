"""The loader of plugins: engines, deployers, benchmarks, searches and priors, all through entry points."""

import sys
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from autotuner.errors import AutotunerError, EnvironmentFaultError, MissingExtraError, UsageError, did_you_mean
from autotuner.plain_text import blanked_line
from autotuner.plugins.benchmark import Benchmark
from autotuner.plugins.deployer import Deployer
from autotuner.plugins.engine import Engine
from autotuner.plugins.prior import Prior
from autotuner.plugins.search import Search, SearchContext
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.study.problems import problems_of
from autotuner.study.spec import AUTO, AUTO_STRATEGY, PluginSpec

Group = Literal["engines", "deployers", "benchmarks", "searches", "priors"]

SECTIONS: dict[Group, str] = {
    "engines": "engine", "deployers": "deploy", "benchmarks": "benchmark", "searches": "search",
}  # fmt: skip
"""Groups whose plugins have settings, with the section of a study file that has them."""

_KIND_KEY: dict[Group, str] = {
    "engines": "engine.kind",
    "deployers": "deploy.kind",
    "benchmarks": "benchmark.kind",
    "searches": "search.strategy",
    "priors": "search.prior",
}
"""Where a study file names the kind."""

_DISTRIBUTION = "llm-inference-autotuner"
_PACKAGE = "autotuner"


class PluginError(EnvironmentFaultError):
    """A plugin of another distribution is installed but cannot be imported."""

    def __init__(self, kind: str, dist: str, error: Exception) -> None:
        why = blanked_line(str(error)) or type(error).__name__
        super().__init__(f"the plugin {kind} of {dist} cannot be loaded: {why}", remedy=f"update, fix or remove {dist}")


def kinds(group: Group) -> dict[str, EntryPoint]:
    """Installed plugins of a group by kind."""
    return {point.name: point for point in _installed(group, tuple(map(_state, sys.path)))}


@lru_cache(maxsize=16)
def _installed(group: Group, _folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group. Finding them reads a file of every installed distribution, so they are kept until
    something is installed or removed."""
    return tuple(entry_points(group=f"autotuner.{group}"))


def _state(folder: str) -> tuple[str, int]:
    """A folder of the import path, and when its entries last changed."""
    try:
        return folder, Path(folder).stat().st_mtime_ns
    except OSError:
        return folder, 0


def load(group: Group, kind: str) -> Any:
    """The plugin class.

    Raises:
        UsageError: If the kind is unknown.
        MissingExtraError: If a plugin of this distribution lacks its optional dependency.
        PluginError: If a plugin of another distribution cannot be imported.
    """
    known = kinds(group)
    if group == "searches" and AUTO not in known:
        known[AUTO] = known[AUTO_STRATEGY]
    if kind not in known:
        where = _KIND_KEY[group]
        raise UsageError.at(where, "unknown kind", value=kind, remedy=did_you_mean(kind, list(known)))
    point = known[kind]
    try:
        return point.load()
    except Exception as error:
        dist = point.dist
        if dist is not None and dist.name != _DISTRIBUTION:
            raise PluginError(kind, f"{dist.name} {dist.version}", error) from error
        is_foreign = isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith(_PACKAGE)
        extra = _extra_of(point) if is_foreign else None
        if extra is None:
            raise  # a defect of this distribution, which no extra would repair
        raise MissingExtraError(kind, extra) from error


def _extra_of(point: EntryPoint) -> str | None:
    """The extra that a plugin's folder declares as ``EXTRA``; None if it needs none."""
    folder = import_module(point.module.rpartition(".")[0])
    extra: str | None = getattr(folder, "EXTRA", None)
    return extra


def available(group: Group) -> dict[str, Any]:
    """The plugin classes of a group by kind, without those whose optional dependency is missing."""
    found = {}
    for kind in kinds(group):
        with suppress(MissingExtraError):
            found[kind] = load(group, kind)
    return found


def metrics_sources() -> tuple[MetricsSource, ...]:
    """The metrics of every engine, for a server of unknown kind. A broken plugin is left out: it is not needed here."""
    found: dict[str, MetricsSource] = {}
    for kind in kinds("engines"):
        with suppress(AutotunerError):
            source = load("engines", kind).server_metrics
            if source is not None:
                found.setdefault(source.engine, source)
    return tuple(found.values())


def _settings(group: Group, cls: Any, spec: PluginSpec) -> BaseModel:
    try:
        settings: BaseModel = cls.Settings.model_validate(spec.settings)
    except ValidationError as error:
        raise UsageError(problems_of(error, cls.Settings, prefix=SECTIONS[group])) from None
    return settings


def engine(spec: PluginSpec) -> Engine:
    """The engine of this kind, with its settings validated. Raises what :func:`load` raises."""
    cls = load("engines", spec.kind)
    made: Engine = cls(_settings("engines", cls, spec))
    return made


def deployer(spec: PluginSpec) -> Deployer:
    """The deployer of this kind, with its settings validated. Raises what :func:`load` raises."""
    cls = load("deployers", spec.kind)
    made: Deployer = cls(_settings("deployers", cls, spec))
    return made


def benchmark(spec: PluginSpec) -> Benchmark:
    """The benchmark of this kind, with its settings validated. Raises what :func:`load` raises."""
    cls = load("benchmarks", spec.kind)
    made: Benchmark = cls(_settings("benchmarks", cls, spec))
    return made


def search(spec: PluginSpec, context: SearchContext) -> Search:
    """The search strategy of this kind, with its settings validated. Raises what :func:`load` raises."""
    cls = load("searches", spec.kind)
    made: Search = cls(_settings("searches", cls, spec), context)
    return made


def prior(kind: str) -> Prior:
    """The prior of this kind. Raises what :func:`load` raises."""
    made: Prior = load("priors", kind)()
    return made
