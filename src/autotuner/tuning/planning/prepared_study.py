"""Prepared study: loaded plugins, the target's hardware and the checked space, ready to plan or run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from anyio.to_thread import run_sync

from autotuner.errors import Problem, UsageError
from autotuner.plugins import loading
from autotuner.plugins.benchmark import Benchmark, NeedsDeployer
from autotuner.plugins.deployer import BoundDeployer
from autotuner.plugins.engine import Engine
from autotuner.plugins.search import Search
from autotuner.scoring.cost import usd_per_hour
from autotuner.secrets import remember
from autotuner.study.base import Value
from autotuner.study.check import Check, CheckStatus
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware, LaunchPlan
from autotuner.study.parameters.conditions import hyphenated
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.environment import PREFIX, flags_in, tuned_variables
from autotuner.study.parameters.space import Space
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.starting_point import Start
from autotuner.study.spec import EngineSpec, Model, StudySpec
from autotuner.tuning.data_folder import data_folder
from autotuner.tuning.memory.starting_points import starting_points
from autotuner.tuning.planning.baseline.checks import check_baseline, spelled_out
from autotuner.tuning.planning.condition_checks import check_conditions, check_names, compared_when_inactive
from autotuner.tuning.planning.ineffective_values import idle_values, single_values
from autotuner.tuning.planning.launch_identities import LaunchIdentities
from autotuner.tuning.planning.missing_gpus import too_large, with_missing_gpus
from autotuner.tuning.planning.portable_checks import (
    expanded,
    in_file,
    never_launched,
    portable_defaults,
    portable_problems,
)
from autotuner.tuning.planning.prediction.choice_of_prior import by_prior, check_prior, prior_notes
from autotuner.tuning.planning.prediction.misfits import Misfit, misfit, misfit_notes
from autotuner.tuning.planning.prediction.predictions import Predictions
from autotuner.tuning.planning.public_values import check_public
from autotuner.tuning.planning.search_context import new_search
from autotuner.tuning.planning.study_size import (
    StudySize,
    check_something_to_try,
    check_something_valid,
    nothing_valid,
    study_size,
)
from autotuner.tuning.planning.target_hardware import below, over_base, target_hardware
from autotuner.tuning.planning.unmeasurable_goals import check_metrics, idle_bounds
from autotuner.tuning.planning.value_checks import check_values, first_problem
from autotuner.tuning.planning.window_checks import window_checks
from autotuner.tuning.quality.coverage import check_quality

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A study with its plugins loaded and a space that contains something to launch."""

    spec: StudySpec
    engine: Engine
    deployer: BoundDeployer
    benchmark: Benchmark
    hardware: Hardware
    model: Model
    """As the target finds it."""
    space: Space
    default: Configuration | None
    """The default, or the study's baseline, in terms of the space's parameters; None if it does not lie in the space,
    or if the engine computes one of them at start."""
    base: Mapping[str, Value] = field(default_factory=dict)
    """Flags of the target's own command line, below the study's fixed arguments."""
    base_version: str = ""
    """Where these come from; see :class:`BaseArguments`."""
    missing_gpus: Check | None = None
    """Failing check if the target has too few GPUs for the study; ``hardware`` then has what the study needs."""
    hardware_assumed: bool = False
    """Whether ``hardware`` is this machine's because the target does not answer; see :func:`target_hardware`."""

    @property
    def by_engine(self) -> Mapping[str, "Prepared"]:
        """The engines of the study, prepared one by one, by name; the only one has no name."""
        return {"": self}

    def of(self, configuration: Configuration) -> "Prepared":
        """The engine that a configuration chooses."""
        return self

    @property
    def defaults(self) -> tuple[Configuration, ...]:
        """The baseline of each engine, or its default if the study states none; the first one is trial 0."""
        return self.spec.references

    @property
    def reference(self) -> Configuration:
        """The first of :attr:`defaults`."""
        return self.defaults[0]

    @property
    def engine_spec(self) -> EngineSpec:
        """The study's engine with the arguments of the target's own command line, which the study's override."""
        engine = self.spec.engine
        return engine.replaced(args={**self.base, **engine.args}) if self.base else engine

    def valid(self, configuration: Configuration) -> bool:
        """Whether engine and hardware can run this configuration, as far as that is known before a launch."""
        return self.accepts(configuration) and self.misfit(configuration) is None

    def accepts(self, configuration: Configuration) -> bool:
        """Whether it is valid whatever memory it takes."""
        return self.refusal(configuration) is None

    def refusal(self, configuration: Configuration) -> Problem | None:
        """Why it is invalid whatever memory it takes; None if it is valid."""
        return first_problem(self, configuration)

    def misfit(self, configuration: Configuration) -> Misfit | None:
        """Why a configuration that the engine accepts cannot fit in memory; None if it may fit."""
        return misfit(self.predictions.too_large(self.values(configuration))) if self.deployer.launches else None

    def forecast(self, configuration: Configuration) -> Forecast | None:
        """Predicted results of a configuration that the engine accepts; None if there is no prediction."""
        if not self.deployer.launches:
            return None
        return self.forecasts.forecast(self.values(configuration), self.spec.workload, self.spec.slos)

    @cached_property
    def forecasts(self) -> Predictions:
        """The predictions of the study's prior."""
        return by_prior(self.predictions, self.spec, self.fixed)

    @cached_property
    def predictions(self) -> Predictions:
        """What is predicted of the study's servers."""
        return Predictions(self.engine, self.model, self.hardware, here=self.deployer.here)

    @property
    def fixed(self) -> dict[str, Value]:
        """Arguments of every launch by canonical name."""
        return {self.engine.canonical(k): v for k, v in self.engine_spec.args.items()}

    def values(self, configuration: Configuration) -> dict[str, Value]:
        """Fixed arguments and tuned values together, as the engine's own flags by canonical name. Raises ``UsageError``
        if the engine has no such flags."""
        return expanded(self.engine, {**self.fixed, **flags_in(self.spec.as_flags(configuration).values)})

    def launch(self, configuration: Configuration) -> LaunchPlan:
        """The launch of one configuration."""
        flags = self.spec.as_flags(configuration)
        return self.engine.launch(self.model, self.engine_spec, flags, tuned_variables(self.spec.parameters))

    def gpus(self, configuration: Configuration) -> int:
        """The GPUs that a server with this configuration takes. Raises ``UsageError`` as :meth:`values`."""
        return self.engine.gpus(self.values(configuration)) if self.deployer.launches else 0

    @property
    def gpu_name(self) -> str:
        """Name of the GPUs as the engine sees them; empty if it is not known."""
        return self.engine.machine(self.hardware).gpu_name

    def usd_per_hour(self, configuration: Configuration) -> float | None:
        """What a server with this configuration costs; None if the study has no price for it."""
        if not self.spec.prices:
            return None
        gpus = self.engine.priced_gpus(self.values(configuration)) if self.deployer.launches else 0
        return usd_per_hour(self.spec.prices, self.gpu_name, gpus)

    def identity(self, configuration: Configuration) -> str:
        """Identity of the server that this configuration starts; see :meth:`LaunchIdentities.of`."""
        return self._identities.of(configuration)

    def started_by(self, flags: Configuration, like: Configuration = DEFAULT) -> Configuration | None:
        """The configuration of the space that starts the server with these flags and variables; None if none does, or
        if the space has too many to compare. ``like`` has chosen the engine."""
        found = self._identities.started_by(flags)
        return found if found is not None and self.accepts(found) else None

    def reference_started_by(self, flags: Configuration, like: Configuration = DEFAULT) -> Configuration | None:
        """The baseline or default that starts the server with these flags and variables; None if none does. ``like``
        has chosen the engine."""
        return self.reference if self._identities.starts_reference(flags) else None

    @cached_property
    def _identities(self) -> LaunchIdentities:
        return LaunchIdentities(self.engine, self.model, self.engine_spec, self.space, self.reference)

    @cached_property
    def size(self) -> StudySize:
        """Counts of the grid and of launches, computed once: plan, announcement and runner use the same numbers."""
        return study_size(
            self.spec,
            self.space,
            refusal=self.refusal,
            misfit=lambda c: found.why if (found := self.misfit(c)) else "",
            identity=self.identity,
            defaults=[c for c in (self.reference, self.default) if c is not None],
            compare=self.differ_in_writing,
        )

    @property
    def differ_in_writing(self) -> bool:
        """Whether points of the space may start the same server; see :attr:`LaunchIdentities.differ_in_writing`."""
        return self._identities.differ_in_writing

    def own(self, configuration: Configuration) -> Configuration:
        """A configuration by the names of the engine that it chooses."""
        return configuration

    def spelled_out(self, configuration: Configuration) -> Configuration:
        """A configuration that chooses an engine's default in terms of the space's parameters."""
        return configuration

    def known_as(self, configuration: Configuration) -> Configuration | None:
        """A stored configuration in terms of the study's present parameters; None if it is no longer in the space. What
        everything is compared with always is."""
        if configuration in self.defaults:
            return configuration
        spelled = self.space.pruned({p.name: configuration.values.get(p.name) for p in self.spec.parameters})
        if any(value is not None for name, value in configuration.values.items() if name not in spelled.values):
            return None  # it sets a parameter that is no longer tuned, or is inactive now
        if self.space.contains(spelled):
            return spelled if self.accepts(spelled) else None
        defaults = self._engine_default.values if self._engine_default is not None else {}
        filled = {name: defaults.get(name) if value is None else value for name, value in spelled.values.items()}
        # The empty configuration is the default, whatever the study compares with, and not one with nulls.
        return configuration if configuration.values and self.space.contains(self.space.pruned(filled)) else None

    @cached_property
    def _engine_default(self) -> Configuration | None:
        """The engine's default in terms of the space's parameters, whatever the study compares with."""
        return spelled_out(self.space, self.space.known) if self.spec.baseline else self.default

    @property
    def starts(self) -> tuple[Start, ...]:
        """Recommended configurations in the space."""
        return starting_points(self)

    def search(self, evidence: Evidence = NO_EVIDENCE) -> Search:
        """A new search over the space, which knows no trials yet, apart from those of earlier studies."""
        return new_search(self, evidence)

    async def preflight(self) -> list[Check]:
        """Checks before the first trial. Read-only."""
        plans = [self.launch(self.reference)]
        own = await run_sync(data_folder)
        deployed = await self.deployer.preflight(plans)
        if self.missing_gpus is not None:  # it replaces the deployer's own check of the same GPUs
            deployed = [c for c in deployed if not (c.name == "gpus" and c.status is CheckStatus.FAIL)]
            deployed.append(self.missing_gpus)
        checks = [own, *deployed, *await self.benchmark.preflight(self.spec.workload)]
        found = [*checks, *self._notes(), *window_checks(self.spec)]
        for check in found:
            logger.info("check %s: %s: %s", check.name, check.status.value, check.detail)
        return found

    def _notes(self) -> list[Check]:
        """Warnings: flags that the engine accepts but comments on, and values that the target is too small for."""
        found = self._flag_notes()
        if self.deployer.launches:
            found += never_launched(self.engine, self.spec.parameters, self.fixed, self.hardware.gpus)
            found += too_large(self.engine, self.fixed, self.spec.parameters, self.hardware.gpus)
            found += idle_values(self.engine, self.spec.parameters, self.spec.workload)
            found += misfit_notes(self.size, self.misfit(self.reference), self.spec.reference_word)
            found += [nothing_valid(self, "this engine is not searched: ")] if self.size.fits_nowhere else []
        found += single_values(self.engine, self.spec.parameters)
        found += [*self._identities.notes(), *idle_bounds(self.spec)]
        found += prior_notes(self.forecasts, self.spec, self.fixed)
        found += compared_when_inactive(self.space)
        if self.spec.parameters and self.spec.search.trials == 1:
            why = f"only the {self.spec.reference_word} is launched, so nothing is tuned"
            remedy = "raise it to 2 or more"
            found.append(Problem(where="search.trials", why=why, remedy=remedy))
        return [Check.warn(n.where, n.why, remedy=n.remedy) for n in found]

    def _flag_notes(self) -> list[Problem]:
        """The engine's comments on the study's flags, each once: those of the first configuration, and those of flags
        that only others set."""
        grids = {p.name: p.domain.grid() or (None,) for p in self.spec.parameters}
        samples = [self.space.pruned({name: next(iter(grid)) for name, grid in grids.items()})]
        for parameter in self.spec.parameters:
            values = [value for value in grids[parameter.name] if value is not None]
            several = values if parameter.combinations else values[:1]
            samples += [Configuration(values={parameter.name: value}) for value in several]
        found = dict[tuple[str, str], Problem]()
        for sample in samples:
            try:
                notes = self.engine.notes(self.values(sample))
            except UsageError:  # these values cannot be combined; others can
                continue
            for note in notes:
                found.setdefault((note.where, note.why), note)
        return [*found.values()]


async def prepare(spec: StudySpec, *, planning: bool = False, may_not_fit: bool = False) -> Prepared:
    """Loads the plugins and checks the space.

    Args:
        spec: The study.
        planning: Whether nothing will be launched, so that a container engine need not answer.
        may_not_fit: Whether a space of which nothing fits in memory is accepted; see :attr:`StudySize.fits_nowhere`.

    Raises:
        UsageError: With every problem of the study.
        MissingExtraError: If a plugin needs an extra that is not installed.
    """
    remember(spec)
    check_prior(spec.search)
    engine = loading.engine(spec.engine)
    deployer = loading.deployer(spec.deploy).bind(engine, spec.model)
    benchmark = loading.benchmark(spec.benchmark)
    hardware, assumed = await target_hardware(deployer, planning=planning)
    _check_launches(deployer, spec)
    fixed = {engine.canonical(k): v for k, v in spec.engine.args.items()}
    constraints = tuple(_constraint(text, i) for i, text in enumerate(spec.constraints))
    if problems := portable_problems(engine, spec.parameters, fixed, constraints):
        raise UsageError(problems)
    deployer, own = await over_base(deployer)
    base = below(engine, spec, own.args)
    fixed = {**base, **fixed}
    missing: Check | None = None
    if deployer.launches:
        hardware, missing = with_missing_gpus(engine, fixed, spec.parameters, hardware, spec.baseline)
    known = {name: entry.default for name, entry in engine.catalog.items() if entry.default is not None}
    defaults = {**known, **portable_defaults(engine, spec.parameters, fixed)}
    machine = engine.machine(hardware)
    space = Space(
        parameters=spec.parameters,
        combinations=spec.combinations,
        constraints=constraints,
        known=_known(machine, {**defaults, **fixed}, spec),
    )
    check_names(space)
    check_conditions(space, engine, fixed=fixed, hardware=_hardware_names(machine))
    model = await deployer.locate(spec.model)
    if isinstance(benchmark, NeedsDeployer):
        benchmark = benchmark.for_deployer(deployer)
    prepared = Prepared(
        spec=spec,
        engine=engine,
        deployer=deployer,
        benchmark=benchmark.for_study(spec, model),
        hardware=hardware,
        model=model,
        space=space,
        default=spelled_out(space, {**defaults, **base}, spec.baseline),
        base=base,
        base_version=own.version,
        missing_gpus=missing,
        hardware_assumed=assumed,
    )
    _check(prepared, may_not_fit=may_not_fit)
    return prepared


def _check(prepared: Prepared, *, may_not_fit: bool) -> None:
    """Raises :class:`UsageError` for what needs all plugins to be checked."""
    _check_fixed(prepared)
    check_baseline(prepared)
    check_metrics(prepared)
    check_values(prepared.engine, prepared.spec.parameters)
    if prepared.deployer.launches:
        check_public(prepared.spec)
    check_quality(prepared.spec, prepared.engine)
    if not (may_not_fit and prepared.size.fits_nowhere):
        check_something_valid(prepared)
        check_something_to_try(prepared)


def _known(hardware: Hardware, values: Mapping[str, Value], spec: StudySpec) -> dict[str, Value]:
    """Values of names that a constraint may use beside the parameters."""
    return {**_hardware_names(hardware), **values, **{f"{PREFIX}{n}": v for n, v in spec.engine.env.items()}}


def _check_launches(deployer: BoundDeployer, spec: StudySpec) -> None:
    if not deployer.launches and spec.parameters:
        why = f"{deployer.kind} measures a running server, so nothing can be tuned"
        raise UsageError(Problem(where="parameters", why=why, remedy="remove the parameters, or deploy with process"))


def _hardware_names(hardware: Hardware) -> dict[str, Value]:
    return {hyphenated(name): value for name, value in hardware.model_dump().items()}


def _constraint(text: str, index: int) -> Constraint:
    try:
        return Constraint.parse(text)
    except ValueError as error:
        raise UsageError(Problem.refused(f"constraints[{index}]", error, value=text)) from None


def _check_fixed(prepared: Prepared) -> None:
    """Refuses fixed arguments that fail by themselves: every launch has them, the default's included."""
    engine = prepared.engine
    fixed = prepared.fixed
    values = expanded(engine, fixed)
    if not prepared.deployer.launches:
        return
    problems = [in_file(engine, fixed, p) for p in engine.check(values, prepared.hardware)]
    if problems:
        raise UsageError(problems)
