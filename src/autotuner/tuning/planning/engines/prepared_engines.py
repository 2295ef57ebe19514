"""Prepared study with several engines: each engine as a study of its own, over one space."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from autotuner.errors import AutotunerError, Problem, UsageError
from autotuner.study.base import Value
from autotuner.study.check import Check
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware, LaunchPlan
from autotuner.study.parameters.conditions import hyphenated
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.engines import common_known, own_values, qualified_values
from autotuner.study.parameters.portable import is_portable
from autotuner.study.parameters.space import Space
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.starting_point import Start
from autotuner.study.spec import StudySpec
from autotuner.tuning.planning import prepared_study
from autotuner.tuning.planning.condition_checks import check_names
from autotuner.tuning.planning.prediction.misfits import Misfit
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.planning.study_size import StudySize, nothing_valid, study_size

_OF_ENTRY = ("engine", "deploy", "parameters", "constraints", "baseline")
"""Sections that each entry of ``engines`` has for itself."""


@dataclass(frozen=True)
class PreparedEngines(Prepared):
    """A study with several engines. The plugins of :class:`Prepared` are those of the first one; :meth:`of` gives those
    that a configuration chooses."""

    engines: Mapping[str, Prepared] = field(default_factory=dict)

    @property
    def by_engine(self) -> Mapping[str, Prepared]:
        """See :meth:`Prepared.by_engine`."""
        return self.engines

    def of(self, configuration: Configuration) -> Prepared:
        """The engine that a configuration chooses. Raises ``UsageError`` if the study no longer has this engine."""
        name = self.spec.engine_name(configuration)
        if name not in self.engines:
            raise UsageError(Problem(where="engines", value=name, why="the study has no engine of this name"))
        return self.engines[name]

    def own(self, configuration: Configuration) -> Configuration:
        """See :meth:`Prepared.own`."""
        name = self.spec.engine_name(configuration)
        return Configuration(values=own_values(name, configuration.values))

    def refusal(self, configuration: Configuration) -> Problem | None:
        """See :meth:`Prepared.refusal`."""
        return self.of(configuration).refusal(self.own(configuration))

    def misfit(self, configuration: Configuration) -> Misfit | None:
        """See :meth:`Prepared.misfit`."""
        return self.of(configuration).misfit(self.own(configuration))

    def forecast(self, configuration: Configuration) -> Forecast | None:
        """See :meth:`Prepared.forecast`."""
        return self.of(configuration).forecast(self.own(configuration))

    def values(self, configuration: Configuration) -> dict[str, Value]:
        """See :meth:`Prepared.values`."""
        return self.of(configuration).values(self.own(configuration))

    def launch(self, configuration: Configuration) -> LaunchPlan:
        """See :meth:`Prepared.launch`."""
        return self.of(configuration).launch(self.own(configuration))

    def gpus(self, configuration: Configuration) -> int:
        """See :meth:`Prepared.gpus`."""
        return self.of(configuration).gpus(self.own(configuration))

    def usd_per_hour(self, configuration: Configuration) -> float | None:
        """See :meth:`Prepared.usd_per_hour`."""
        return self.of(configuration).usd_per_hour(self.own(configuration))

    def identity(self, configuration: Configuration) -> str:
        """See :meth:`Prepared.identity`; two engines never start the same server."""
        own = self.of(configuration).identity(self.own(configuration))
        return f"{self.spec.engine_name(configuration)} {own}"

    @cached_property
    def size(self) -> StudySize:
        """See :meth:`Prepared.size`."""
        written = [self.spelled_out(default) for default in self.defaults]
        return study_size(
            self.spec,
            self.space,
            refusal=self.refusal,
            misfit=lambda c: found.why if (found := self.misfit(c)) else "",
            identity=self.identity,
            defaults=[*self.defaults, *written],
            compare=any(e.differ_in_writing for e in self.engines.values()),
            other_defaults=len(self.engines) - 1,
        )

    def spelled_out(self, configuration: Configuration) -> Configuration:
        """An engine's baseline or default in terms of the space's parameters if it is a point of the space; everything
        else as it is."""
        if configuration not in self.defaults:
            return configuration
        default = self.of(configuration).default
        return configuration if default is None else self._common(configuration, default)

    def known_as(self, configuration: Configuration) -> Configuration | None:
        """See :meth:`Prepared.known_as`."""
        if self.spec.engine_name(configuration) not in self.engines:
            return None
        if configuration in self.defaults:
            return configuration
        known = self.of(configuration).known_as(self.own(configuration))
        return None if known is None else self._common(configuration, known)

    def started_by(self, flags: Configuration, like: Configuration = DEFAULT) -> Configuration | None:
        """See :meth:`Prepared.started_by`."""
        if self.spec.engine_name(like) not in self.engines:
            return None
        found = self.of(like).started_by(flags)
        return None if found is None else self._common(like, found)

    def reference_started_by(self, flags: Configuration, like: Configuration = DEFAULT) -> Configuration | None:
        """See :meth:`Prepared.reference_started_by`."""
        if self.spec.engine_name(like) not in self.engines:
            return None
        found = self.of(like).reference_started_by(flags)
        return None if found is None else self._common(like, found)

    async def preflight(self) -> list[Check]:
        """Checks of every engine; those that are the same for all of them once."""
        found = {name: await engine.preflight() for name, engine in self.engines.items()}
        first, *others = found.values()
        common = [check for check in first if all(check in checks for checks in others)]
        own = [_named(name, c) for name, checks in found.items() for c in checks if c not in common]
        return [*own, *common]

    @property
    def starts(self) -> tuple[Start, ...]:
        """See :meth:`Prepared.starts`."""
        return tuple(
            Start(configuration, start.source)
            for default, engine in zip(self.defaults, self.engines.values(), strict=True)
            for start in engine.starts
            if self.space.contains(configuration := self._common(default, start.configuration))
        )

    def _common(self, like: Configuration, own: Configuration) -> Configuration:
        shared = [p.name for p in self.spec.shared]
        return Configuration(values=qualified_values(self.spec.engine_name(like), own.values, shared))


async def prepare(spec: StudySpec, *, planning: bool = False) -> Prepared:
    """Loads the plugins of all engines and checks the space; see :func:`prepared_study.prepare`."""
    if not spec.engines:
        return await prepared_study.prepare(spec, planning=planning)
    if spec.search.trials < len(spec.engines):
        why = f"every engine's baseline or default is launched, and there are {len(spec.engines)} engines"
        remedy = f"raise it to {len(spec.engines)} or more"
        raise UsageError(Problem(where="search.trials", value=str(spec.search.trials), why=why, remedy=remedy))
    engines: dict[str, Prepared] = {}
    problems: dict[str, list[Problem]] = {}
    for entry in spec.engines:
        try:
            own = spec.of_engine(entry.name)
            engines[entry.name] = await prepared_study.prepare(own, planning=planning, may_not_fit=True)
        except UsageError as error:
            problems[entry.name] = list(error.problems)
        except AutotunerError as error:
            error.message = f"engines.{entry.name}: {error.message}"
            raise
    problems = problems or _nothing_fits(engines)
    if problems:
        raise UsageError(_of_entries(problems, len(spec.engines)))
    return joined(spec, engines)


def _nothing_fits(engines: Mapping[str, Prepared]) -> dict[str, list[Problem]]:
    """The problems of engines with parameters if no engine has anything that fits in memory. One that does not fit is
    an answer about this engine, and the others are searched."""
    found = dict[str, list[Problem]]()
    for name, engine in engines.items():
        if engine.size.fits_nowhere:
            found[name] = [nothing_valid(engine)]
        elif engine.spec.parameters or engine.misfit(engine.reference) is None:
            return {}
    return found


def joined(spec: StudySpec, engines: Mapping[str, Prepared]) -> PreparedEngines:
    """The study over the space of its prepared engines, in the order of the file."""
    first = next(iter(engines.values()))
    hardware = {hyphenated(name) for name in Hardware.model_fields}
    space = Space(
        parameters=spec.parameters,
        constraints=tuple(map(Constraint.parse, spec.space_constraints)),
        known=common_known(
            {name: engine.space.known for name, engine in engines.items()},
            lambda name: name in hardware or is_portable(name),
        ),
    )
    check_names(space)
    found = PreparedEngines(
        spec=spec,
        engine=first.engine,
        deployer=first.deployer,
        benchmark=first.benchmark,
        hardware=first.hardware,
        model=first.model,
        space=space,
        default=None,
        engines=engines,
    )
    written = found.spelled_out(found.defaults[0])
    return replace(found, default=written) if space.contains(written) else found


def _of_entries(problems: Mapping[str, list[Problem]], count: int) -> list[Problem]:
    """The problems of entries, each with the entry's name; those that all entries have once."""
    first, *others = problems.values()
    common = [p for p in first if len(problems) == count and all(p in found for found in others)]
    own = [_placed(name, p) for name, found in problems.items() for p in found if p not in common]
    return [*common, *own]


def _placed(name: str, problem: Problem) -> Problem:
    section = problem.where.split(".")[0].split("[")[0]
    if section in _OF_ENTRY:
        inner = problem.where.removeprefix("engine.")
        return problem.model_copy(update={"where": f"engines.{name}.{inner}"})
    return problem.model_copy(update={"why": f"{problem.why} (engines.{name})"})


def _named(name: str, check: Check) -> Check:
    return check.model_copy(update={"name": f"{name}: {check.name}"})
