"""The one place that loads plugins: engines, deployers, benchmarks and searches, all through entry points."""

from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from autotuner.seams.benchmark import Benchmark
from autotuner.seams.deployer import Deployer
from autotuner.seams.engine import Engine
from autotuner.seams.search import Search, SearchContext
from autotuner.study.errors import MissingExtraError, Problem, UsageError, did_you_mean
from autotuner.study.problems import problems_of
from autotuner.study.spec import PluginSpec

Group = Literal["engines", "deployers", "benchmarks", "searches"]

_SECTION: dict[Group, str] = {
    "engines": "engine", "deployers": "deploy", "benchmarks": "benchmark", "searches": "search",
}  # fmt: skip


def kinds(group: Group) -> dict[str, EntryPoint]:
    """Installed plugins of a group by kind."""
    return {point.name: point for point in entry_points(group=f"autotuner.{group}")}


def load(group: Group, kind: str) -> Any:
    """The plugin class. Raises :class:`UsageError` for an unknown kind, :class:`MissingExtraError` for a missing
    optional dependency."""
    known = kinds(group)
    if kind not in known:
        where = f"{_SECTION[group]}.kind"
        raise UsageError(Problem(where=where, value=kind, why="unknown kind", remedy=did_you_mean(kind, list(known))))
    try:
        return known[kind].load()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("autotuner"):
            raise
        raise MissingExtraError(kind, kind.replace("_", "-")) from error


def usable(group: Group) -> dict[str, Any]:
    """The plugin classes of a group by kind, those left out whose optional dependency is missing."""
    found = {}
    for kind in kinds(group):
        with suppress(MissingExtraError):
            found[kind] = load(group, kind)
    return found


def _settings(group: Group, cls: Any, spec: PluginSpec) -> BaseModel:
    try:
        settings: BaseModel = cls.Settings.model_validate(spec.settings)
    except ValidationError as error:
        raise UsageError(problems_of(error, cls.Settings, prefix=_SECTION[group])) from None
    return settings


def engine(spec: PluginSpec) -> Engine:
    """The engine that a study file names, with its settings checked."""
    cls = load("engines", spec.kind)
    made: Engine = cls(_settings("engines", cls, spec))
    return made


def deployer(spec: PluginSpec) -> Deployer:
    """The deployer that a study file names, with its settings checked."""
    cls = load("deployers", spec.kind)
    made: Deployer = cls(_settings("deployers", cls, spec))
    return made


def benchmark(spec: PluginSpec) -> Benchmark:
    """The benchmark that a study file names, with its settings checked."""
    cls = load("benchmarks", spec.kind)
    made: Benchmark = cls(_settings("benchmarks", cls, spec))
    return made


def search(spec: PluginSpec, context: SearchContext) -> Search:
    """The search strategy that a study file names, with its settings checked."""
    cls = load("searches", spec.kind)
    made: Search = cls(_settings("searches", cls, spec), context)
    return made
