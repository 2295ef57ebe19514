"""Plan of a study: its launches, their estimated time, and all checks, without starting anything."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from pydantic import Field

from autotuner.plugins.deployer import ShowsCommand
from autotuner.secrets import clean_model, secrets_in
from autotuner.study.base import FrozenModel
from autotuner.study.check import Check
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.reference import ReferenceWord, reference_word
from autotuner.study.search.forecast import Forecast
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad
from autotuner.tuning.looks import look_s
from autotuner.tuning.planning.planned_cost import planned_usd
from autotuner.tuning.planning.prediction.predictions import ROOFLINE
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.planning.proof_plan import fewest_launches, proof_checks
from autotuner.tuning.planning.resume_decision import Standing
from autotuner.tuning.planning.unmeasurable_goals import unmatched_prices
from autotuner.tuning.quality.check_time import CheckTime, at_most
from autotuner.tuning.quality.coverage import engine_quality_checks, quality_checks, task_quality_checks
from autotuner.tuning.quality.harness import harness_checks
from autotuner.tuning.racing.window_length import window_length_s

START_S = 2.0
"""Assumed seconds for starting and stopping a server, until a trial has been measured."""


class PredictedLevel(FrozenModel):
    """Predicted results of one scenario at one load level: assumptions of the right magnitude, not measurements."""

    scenario: str
    level: str
    values: Mapping[str, float]
    """By statistic and metric (``mean ttft``), in the metrics' units."""
    prior: str = ""
    """What predicted them, with its version; empty for the built-in roofline."""


class PlannedLaunch(FrozenModel):
    """One command line that would be run. Host and port are filled in at launch."""

    configuration: Configuration
    reference: ReferenceWord | None = None
    """What others are compared with: the study's baseline, or the default. None: it is an example of the others."""
    argv: tuple[str, ...]
    env: Mapping[str, str] = Field(default_factory=dict)
    """Environment variables that the study sets, with secrets hidden."""
    command: tuple[str, ...] = ()
    """Complete command that starts it (``docker run ...`` with image, mounts and GPUs); empty if that is ``argv``."""
    predicted: tuple[PredictedLevel, ...] = ()
    """What it should achieve; empty if model, GPU or flags are not known well enough."""


class PlannedEngine(FrozenModel):
    """One of several engines of a study."""

    name: str
    engine: str
    deploy: str
    space_size: int | None
    """As :attr:`Plan.space_size`, of this engine alone."""
    launchable: int | None
    simulated: str = ""


class Plan(FrozenModel):
    """What would run and about how long it takes."""

    study: str
    engine: str
    """Kind of the engine; of several, their names."""
    deploy: str
    engines: tuple[PlannedEngine, ...] = ()
    """The engines to choose from, in the order of the file; empty if there is only one."""
    space_size: int | None
    """Grid points before constraints; None for a continuous space."""
    launchable: int | None
    """Grid points that satisfy constraints and engine; None if there are too many to count."""
    others: int | None = None
    """Different servers among these besides that of the default or baseline. Two ways to write one command line
    count once."""
    trials: int
    """Launches of the search at most, the default or baseline included."""
    repeats: int
    """Launches of the proof at most; challengers that fall behind are dropped."""
    fewest_repeats: int = 0
    """Launches of the proof if it is decided as early as possible; equal to ``repeats`` if their number is fixed."""
    windows: int
    """Measured windows per launch."""
    estimated_s: float
    """Seconds at most if every window is steady after ``workload.duration``. Slow starts are extra."""
    earliest_s: float = 0.0
    """As ``estimated_s`` if the proof is decided as early as possible, and every trial of the search after its look or
    first level."""
    longest_s: float = 0.0
    """Seconds at most if every window is extended to ``workload.max_duration``. Slow starts are extra."""
    estimated_usd: float | None = None
    """Cost of ``estimated_s`` in USD if every launch is priced as the default; None if a price is not known, and for
    simulated engines, which cost nothing."""
    launches: tuple[PlannedLaunch, ...]
    checks: tuple[Check, ...] = ()
    """Without preflight, only warnings about prices that have no effect."""
    standing: Standing | None = None
    """How the study relates to the stored one; None if the store was not read."""
    simulated: str = ""
    """What is simulated (``vllm on H100x8``); empty for a real engine."""


async def make_plan(
    prepared: Prepared,
    *,
    examples: int = 3,
    preflight: bool = True,
    standing: Standing | None = None,
    site_prices: Collection[str] = (),
) -> Plan:
    """The plan of a prepared study, with the command lines of the default and of ``examples`` other configurations.
    ``site_prices`` are the kinds of GPUs that the site file prices."""
    spec = prepared.spec
    size = prepared.size
    checks = unmatched_prices(prepared, site_prices)
    if preflight:
        own = [*_budgets(prepared, size.trials), *proof_checks(spec, size.trials), *_side_by_side(spec)]
        for name, engine in prepared.by_engine.items():
            found = quality_checks(engine.spec, engine.engine)
            own += [c.replaced(name=f"{name}: {c.name}") for c in found] if name else found
        own += [*engine_quality_checks(spec), *task_quality_checks(spec)]
        own += [*_stop(spec), *checks]
        checks = [*await prepared.preflight(), *await harness_checks(spec.quality), *own]
    fewest = fewest_launches(spec, size.trials)
    looks_s = look_s(spec) if prepared.benchmark.short_windows else 0.0
    known = standing.check if standing is not None else None
    check = known or at_most(spec)
    estimated = estimate_s(spec, size.trials, size.repeats, looks_s=looks_s, check=check)
    search_s = estimate_s(spec, size.trials, 0, looks_s=looks_s, check=check)
    defaults = prepared.defaults
    points = defaults if size.launchable is None else (*defaults, *_examples(prepared, examples))
    made = Plan(
        study=spec.name,
        engine=" or ".join(e.name for e in spec.engines) or spec.engine.kind,
        deploy=", ".join(dict.fromkeys(d.kind for d in spec.deployers)),
        engines=tuple(_engine(name, engine) for name, engine in prepared.by_engine.items() if name),
        space_size=prepared.space.size if spec.parameters else 0,
        launchable=size.launchable,
        others=size.others,
        trials=size.trials,
        repeats=size.repeats,
        fewest_repeats=fewest,
        windows=len(spec.workload.scenarios) * len(spec.workload.levels),
        estimated_s=estimated,
        earliest_s=estimate_s(spec, size.trials, fewest, cut=spec.search.races, looks_s=looks_s, check=known),
        longest_s=estimate_s(spec, size.trials, size.repeats, extended=True, looks_s=looks_s, check=check),
        estimated_usd=planned_usd(prepared, search_s=search_s, proof_s=estimated - search_s),
        launches=tuple([await _launch(prepared, c) for c in points if prepared.of(c).deployer.launches]),
        checks=tuple(checks),
        standing=standing,
        simulated=_simulated(spec) if not spec.engines else "",
    )
    return clean_model(made, frozenset(secrets_in(spec)))


def _engine(name: str, engine: Prepared) -> PlannedEngine:
    return PlannedEngine(
        name=name,
        engine=engine.spec.engine.kind,
        deploy=engine.spec.deploy.kind,
        space_size=engine.space.size if engine.spec.parameters else 0,
        launchable=engine.size.launchable,
        simulated=_simulated(engine.spec),
    )


def _side_by_side(spec: StudySpec) -> list[Check]:
    """Warns about ``search.parallel``: trials on one machine slow each other down, and the default runs alone."""
    if spec.search.parallel < 2 or not spec.parameters:
        return []
    word = spec.reference_word
    proof = f"the proof repeats the best ones and the {word} one at a time"
    return [
        Check.warn(
            "search.parallel",
            f"{spec.search.parallel} trials run side by side and share CPU cores, memory bandwidth and disks, "
            f"so their numbers are not comparable with the {word}'s, which runs alone; "
            + (proof if spec.confirm.blocks else "confirm.repeats is 0, so nothing is compared under one condition"),
            remedy="set search.parallel to 1, or give each trial GPUs and cores of its own",
        )
    ]


def _stop(spec: StudySpec) -> list[Check]:
    rule = spec.search.stop
    if rule is None or not spec.parameters:
        return []
    bound = f"no untried configuration is {rule.too_good}"
    detail = f"ends the search once, with {rule.confidence * 100:g}% confidence, {bound}"
    return [Check.ok("search.stop", detail)]


def _budgets(prepared: Prepared, trials: int) -> list[Check]:
    return budget_checks(prepared.spec, trials, prepared.gpus(prepared.defaults[0])) if prepared.spec.parameters else []


def _examples(prepared: Prepared, count: int) -> list[Configuration]:
    """The first configurations of the grid that the search could launch, those of several engines in equal parts."""
    seen = {prepared.identity(c) for c in (*prepared.defaults, prepared.default) if c is not None}
    seen |= {prepared.identity(prepared.spelled_out(c)) for c in prepared.defaults}
    of_each = Counter[str]()
    most = math.ceil(count / len(prepared.by_engine))
    found: list[Configuration] = []
    for configuration in prepared.space.grid():
        engine = prepared.spec.engine_name(configuration)
        if len(found) == count:
            break
        if of_each[engine] == most:
            continue
        identity = prepared.identity(configuration)
        if identity not in seen and prepared.valid(configuration):
            seen.add(identity)
            of_each[engine] += 1
            found.append(configuration)
    return found


def windows_s(spec: StudySpec) -> float:
    """Least seconds for one trial's windows, warm-up included. A limit on requests, or a
    decided load, may end a window at any time."""
    workload = spec.workload
    early = workload.requests is not None or any(isinstance(level, CapacityLoad) for level in workload.levels)
    return sum(workload.warmup_s + (0.0 if early else window) for window in _windows_s(spec))


def trial_s(spec: StudySpec, *, extended: bool = False, levels: int | None = None) -> float:
    """Estimated seconds of a trial, without slow starts; ``extended``: with windows of the longest duration,
    ``levels``: only of the first ones."""
    windows = list(_windows_s(spec, extended=extended))[:levels]
    return START_S + sum(spec.workload.warmup_s + window + 0.5 for window in windows)


def _windows_s(spec: StudySpec, *, extended: bool = False) -> Iterator[float]:
    """Duration of each window of a trial; that of a trace or of stages is its own."""
    workload = spec.workload
    for scenario in workload.scenarios:
        for level in workload.levels:
            yield window_length_s(spec, scenario, level, extended=extended)


def estimate_s(
    spec: StudySpec,
    trials: int,
    repeats: int,
    *,
    extended: bool = False,
    cut: bool = False,
    looks_s: float = 0.0,
    check: CheckTime | None = None,
) -> float:
    """Estimated upper bound of the study's seconds, without slow starts. A time budget caps the search.

    Args:
        spec: The study.
        trials: Launches of the search.
        repeats: Launches of the proof.
        extended: As for :func:`trial_s`.
        cut: Whether each trial but the default ends after its looks, or after its first level if it has none.
        looks_s: Seconds of the looks of one trial.
        check: The quality check of one trial of the search; None: no time. What is cut is not checked.
    """
    each = trial_s(spec, extended=extended)
    others = trial_s(spec, levels=0 if looks_s else 1) if cut else each
    checks_s = default_check_s = 0.0
    if check is not None:
        defaults = min(trials, max(1, len(spec.engines)))
        default_check_s = check.default_s
        checks_s = defaults * default_check_s + (0.0 if cut else (trials - defaults) * check.candidate_s)
    search = (each + (trials - 1) * others + trials * looks_s + checks_s) / spec.search.parallel
    if spec.search.time_s is not None:
        search = min(search, max(spec.search.time_s, each + default_check_s))
    return search + repeats * each


def budget_checks(spec: StudySpec, trials: int, gpus: int) -> list[Check]:
    """How many trials fit the budgets. ``gpus`` is the default's number of GPUs."""
    each = trial_s(spec)
    search = spec.search
    found = []
    if search.time_s is not None:
        rounds = max(0, int((search.time_s - each) / each))
        fitting = 1 + rounds * search.parallel
        found.append(_budget_check("search.time", f"{search.time_s:g} s", fitting, trials, each, spec.reference_word))
    if search.gpu_hours is not None and gpus:
        fitting = max(1, int(search.gpu_hours * 3600 / (each * gpus)))
        limit = f"{search.gpu_hours:g}"
        found.append(_budget_check("search.gpu_hours", limit, fitting, trials, each, spec.reference_word))
    return found


def _budget_check(name: str, limit: str, fitting: int, trials: int, each: float, first: ReferenceWord) -> Check:
    long = f"a trial takes about {each:.0f} s"
    if fitting < 2:
        detail = f"{limit}: no room for a trial besides the {first}'s ({long})"
        return Check.warn(name, detail, remedy="raise it, or shorten the workload")
    fits = f"room for all {trials} trials" if fitting >= trials else f"room for about {fitting} of {trials} trials"
    detail = f"{limit}: {fits} ({long}); a trial that cannot finish in time is not started, and the proof is extra"
    return Check.ok(name, detail)


async def _launch(prepared: Prepared, configuration: Configuration) -> PlannedLaunch:
    plan = prepared.launch(configuration)
    argv = (*plan.command, *(a for flag in plan.flags for a in flag.argv()))
    deployer = prepared.of(configuration).deployer
    command = await deployer.command(plan) if isinstance(deployer, ShowsCommand) else ()
    return PlannedLaunch(
        configuration=configuration,
        reference=reference_word(configuration.values) if configuration in prepared.defaults else None,
        argv=argv,
        env=dict(plan.env),
        command=command,
        predicted=_predicted(prepared.forecast(configuration)),
    )


def _predicted(forecast: Forecast | None) -> tuple[PredictedLevel, ...]:
    if forecast is None:
        return ()
    return tuple(
        PredictedLevel(
            scenario=found.scenario,
            level=found.level,
            values={channel.text: math.exp(mean) for channel, mean in found.log_mean.items()},
            prior="" if forecast.source == ROOFLINE else f"{forecast.source} {forecast.version}",
        )
        for found in forecast.levels
    )


def _simulated(spec: StudySpec) -> str:
    if spec.engine.kind != "simulated":
        return ""
    settings = spec.engine.settings
    return f"{settings.get('flavor', 'sglang')} on {settings.get('gpu', 'H100')}x{settings.get('gpu_count', 1)}"
