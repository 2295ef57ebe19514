"""Earlier launches in terms of a study's present parameters, which may be edited after the evidence was stored."""

from collections.abc import Mapping

from autotuner.errors import UsageError
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.engines import own_values, qualified_values
from autotuner.study.parameters.environment import PREFIX, flags_in, is_variable, variable_of, variable_text
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import is_portable
from autotuner.study.search.evidence import EarlierTrial, Evidence
from autotuner.tuning.planning.portable_checks import expanded
from autotuner.tuning.planning.prepared_study import Prepared


def in_present_terms(prepared: Prepared, stored: Evidence) -> Evidence:
    """The evidence as the study's present parameters see it: a combination may stand for other flags by now, and a
    parameter that was removed may have made a difference."""
    studies = []
    for study in stored.studies:
        if (own := prepared.by_engine.get(study.engine)) is None:
            continue  # an engine that was removed, or the only one of a study that has several now
        trials = [_seen_now(own, _of_engine(study.engine, t)) for t in study.trials]
        kept = [in_common_space(prepared, study.engine, t) for t in trials if t.windows or t.configuration is not None]
        studies.append(study.replaced(trials=tuple(kept)))
    return stored.replaced(studies=tuple(studies))


def in_common_space(prepared: Prepared, engine: str, trial: EarlierTrial) -> EarlierTrial:
    """A trial by an engine's own names, by those of a study with several engines."""
    if not engine:
        return trial
    shared = [p.name for p in prepared.spec.shared]
    known = trial.configuration
    return trial.replaced(
        values=qualified_values(engine, trial.values, shared),
        configuration=known and Configuration(values=qualified_values(engine, known.values, shared)),
    )


def _of_engine(engine: str, trial: EarlierTrial) -> EarlierTrial:
    """The inverse of :func:`in_common_space`."""
    if not engine:
        return trial
    known = trial.configuration
    return trial.replaced(
        values=own_values(engine, trial.values),
        configuration=known and Configuration(values=own_values(engine, known.values)),
    )


def _seen_now(prepared: Prepared, trial: EarlierTrial) -> EarlierTrial:
    known = trial.configuration and known_now(prepared, trial.configuration, trial.flags)
    fixed_variables = [text for text in trial.unlike if text.startswith(PREFIX)]
    lost = [] if known is not None else [*unlike(prepared, trial.flags), *fixed_variables]
    return trial.replaced(
        configuration=known,
        values=with_combinations(prepared, trial.values, trial.flags),
        unlike=tuple(dict.fromkeys(lost)),
    )


def known_now(prepared: Prepared, configuration: Configuration, flags: Mapping[str, Value]) -> Configuration | None:
    """A stored configuration in terms of the study's present parameters; None if it does not set just these flags and
    variables now."""
    try:
        found = prepared.known_as(configuration)
        if found is None:
            return None
        own = {**prepared.fixed, **prepared.spec.as_flags(found).values}
        return found if launched(prepared, own) == flags else None
    except UsageError:
        return None


def launched(prepared: Prepared, values: Mapping[str, Value]) -> dict[str, Value]:
    """Flags by canonical name, and variables, that reach the server: a null leaves one out. Raises ``UsageError`` if
    the engine has no such flags."""
    found = expanded(prepared.engine, flags_in(values))
    return given({**found, **{name: value for name, value in values.items() if is_variable(name)}})


def given(values: Mapping[str, Value]) -> dict[str, Value]:
    """Without nulls, which leave a flag out."""
    return {name: value for name, value in values.items() if value is not None}


def with_combinations(prepared: Prepared, values: Mapping[str, Value], flags: Mapping[str, Value]) -> dict[str, Value]:
    """The values, with the present names of combinations that set just these flags."""
    combined = [p for p in prepared.spec.parameters if p.combinations]
    named = {p.name: name for p in combined if (name := _combination(prepared, p, flags)) is not None}
    return {**{n: v for n, v in values.items() if n not in {p.name for p in combined}}, **named}


def _combination(prepared: Prepared, parameter: Parameter, flags: Mapping[str, Value]) -> str | None:
    try:
        points = {name: launched(prepared, point) for name, point in parameter.combinations.items()}
    except UsageError:
        return None
    names = {name for point in points.values() for name in point}
    own = {name: value for name, value in flags.items() if name in names}
    return next((name for name, point in points.items() if point == own), None)


def unlike(prepared: Prepared, flags: Mapping[str, Value]) -> list[str]:
    """Flags and variables that the study fixes or leaves out now, where a launch had another value."""
    names = [flag for p in prepared.spec.parameters for flag in p.flags]
    portable = [flag for name in names if is_portable(name) for flag in prepared.engine.portable_flags(name)]
    tuned = {prepared.engine.canonical(name) if not is_variable(name) else name for name in [*names, *portable]}
    new = launched(prepared, prepared.fixed)
    own = flags_in(flags)
    found = [f"{name}={own.get(name)}" for name in sorted({*own, *new} - tuned) if own.get(name) != new.get(name)]
    env = prepared.spec.engine.env
    lost = {name: variable_text(value) for name, value in flags.items() if is_variable(name) and name not in tuned}
    return [*found, *(f"{name}={text}" for name, text in lost.items() if env.get(variable_of(name)) != text)]
