"""The one place that loads plugins: engines, deployers, benchmarks and searches, all through entry points."""

from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from autotuner.errors import EnvironmentFaultError, MissingExtraError, Problem, UsageError, did_you_mean
from autotuner.plain_text import blanked_line
from autotuner.plugins.benchmark import Benchmark
from autotuner.plugins.deployer import Deployer
from autotuner.plugins.engine import Engine
from autotuner.plugins.search import Search, SearchContext
from autotuner.study.problems import problems_of
from autotuner.study.spec import PluginSpec

Group = Literal["engines", "deployers", "benchmarks", "searches"]

_SECTION: dict[Group, str] = {
    "engines": "engine", "deployers": "deploy", "benchmarks": "benchmark", "searches": "search",
}  # fmt: skip

_KIND_KEY: dict[Group, str] = {
    "engines": "engine.kind",
    "deployers": "deploy.kind",
    "benchmarks": "benchmark.kind",
    "searches": "search.strategy",
}
"""Where a study file names the kind."""

_DISTRIBUTION = "llm-inference-autotuner"
_PACKAGE = "autotuner"
_EXTRAS = {"ome": "kubernetes"}
"""Optional dependencies by kind, where they are not called like it."""


class PluginError(EnvironmentFaultError):
    """A plugin of another distribution is installed, but broken."""

    def __init__(self, kind: str, dist: str, error: Exception) -> None:
        why = blanked_line(str(error)) or type(error).__name__
        super().__init__(f"the plugin {kind} of {dist} cannot be loaded: {why}", remedy=f"update, fix or remove {dist}")


def kinds(group: Group) -> dict[str, EntryPoint]:
    """Installed plugins of a group by kind."""
    return {point.name: point for point in entry_points(group=f"autotuner.{group}")}


def load(group: Group, kind: str) -> Any:
    """The plugin class. Raises :class:`UsageError` for an unknown kind, :class:`MissingExtraError` for a missing
    optional dependency of ours, :class:`PluginError` for another one's plugin that cannot be imported."""
    known = kinds(group)
    if kind not in known:
        where = _KIND_KEY[group]
        raise UsageError(Problem(where=where, value=kind, why="unknown kind", remedy=did_you_mean(kind, list(known))))
    point = known[kind]
    try:
        return point.load()
    except Exception as error:
        dist = point.dist
        if dist is not None and dist.name != _DISTRIBUTION:
            raise PluginError(kind, f"{dist.name} {dist.version}", error) from error
        if not isinstance(error, ModuleNotFoundError) or (error.name or "").startswith(_PACKAGE):
            raise
        raise MissingExtraError(kind, _EXTRAS.get(kind, kind.replace("_", "-"))) from error


def available(group: Group) -> dict[str, Any]:
    """The classes of a group by kind, without those whose optional dependency is missing."""
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
