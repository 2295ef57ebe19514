"""The study's baseline: its values, and the point of the space that it is."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from autotuner.errors import Problem, UsageError
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value, same
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.environment import is_variable
from autotuner.study.parameters.parameter import Parameter, as_flags
from autotuner.study.parameters.portable import is_portable
from autotuner.study.parameters.space import Space
from autotuner.study.spec import StudySpec

if TYPE_CHECKING:
    from autotuner.tuning.planning.prepared_study import Prepared


def spelled_out(
    space: Space, defaults: Mapping[str, Value], baseline: Mapping[str, Value] | None = None
) -> Configuration | None:
    """The configuration with the values of a baseline and the defaults of all other parameters; None if it is not a
    point of the space, or if one of these is not known."""
    spelled = space.pruned(_values(space, defaults, baseline or {}))
    return spelled if space.contains(spelled) else None


def check_baseline(prepared: "Prepared") -> None:
    """Refuses a baseline that cannot start: values that the engine does not accept alone or together, and values of
    parameters that the rest of the baseline makes inactive. Raises :class:`UsageError`."""
    spec = prepared.spec
    if not spec.baseline:
        return
    problems = [*_wrong_values(spec, prepared.engine), *_inactive(spec, prepared.space)]
    if problems:
        raise UsageError(problems)
    try:
        values = prepared.values(prepared.reference)
    except UsageError as error:
        raise UsageError([_placed(p, spec) for p in error.problems]) from None
    if found := prepared.engine.check(values, prepared.hardware):
        raise UsageError([_placed(p, spec) for p in found])


def _placed(problem: Problem, spec: StudySpec) -> Problem:
    """A problem of one of the flags, which may follow from a portable setting or a combination."""
    where = f"baseline.{problem.where}" if problem.where in spec.baseline else "baseline"
    why = problem.why if problem.where in spec.baseline else f"{problem.where}: {problem.why}"
    return problem.model_copy(update={"where": where, "why": why})


def _values(space: Space, defaults: Mapping[str, Value], baseline: Mapping[str, Value]) -> dict[str, Value]:
    stated = {name: value for name, value in baseline.items() if value is not None}
    flags = {**defaults, **as_flags(space.parameters, stated)}
    found: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.combinations and parameter.name not in stated:
            found[parameter.name] = _combination(parameter, flags, defaults)
        else:
            found[parameter.name] = stated.get(parameter.name, defaults.get(parameter.name))
    return found


def _combination(parameter: Parameter, flags: Mapping[str, Value], defaults: Mapping[str, Value]) -> str | None:
    """The first combination that sets its flags to these values, and leaves the others at their defaults."""

    def alike(point: Mapping[str, Value]) -> bool:
        return all(same(flags.get(flag), point.get(flag, defaults.get(flag))) for flag in parameter.flags)

    return next((name for name, point in parameter.combinations.items() if alike(point)), None)


def _wrong_values(spec: StudySpec, engine: Engine) -> Iterator[Problem]:
    combined = {p.name for p in spec.parameters if p.combinations}
    for name, value in spec.baseline.items():
        if name in combined or is_variable(name):
            continue
        found = engine.check_portable(name, value) if is_portable(name) else engine.check_value(name, value)
        yield from (p.model_copy(update={"where": f"baseline.{name}"}) for p in found)


def _inactive(spec: StudySpec, space: Space) -> Iterator[Problem]:
    conditional = {flag: p for p in space.tree.conditional for flag in (p.name, *p.flags)}
    stated = [name for name in spec.baseline if name in conditional and spec.baseline[name] is not None]
    if not stated:
        return
    values = _values(space, space.known, spec.baseline)
    active = space.tree.active(values)
    for name in stated:
        parameter = conditional[name]
        deciding = space.tree.decided_by(parameter)
        if parameter.name not in active and all(_known(p, values, spec) for p in deciding):
            why = f"the rest of the baseline makes it inactive: {Constraint.parse(parameter.when).text}"
            yield Problem(where=f"baseline.{name}", why=why, remedy="remove it, or state what its condition names")


def _known(parameter: Parameter, values: Mapping[str, Value], spec: StudySpec) -> bool:
    """Whether the baseline's value of a parameter is known: the engine may compute its default at start."""
    return values.get(parameter.name) is not None or any(
        name in spec.baseline for name in (parameter.name, *parameter.flags)
    )
