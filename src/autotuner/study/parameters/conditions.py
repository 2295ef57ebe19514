"""Conditions of parameters: what they depend on, and how constraints see the values of a configuration."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from autotuner.study.base import Value
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, Parameter


def hyphenated(name: str) -> str:
    """A name as constraints spell it."""
    return name.replace("_", "-")


def owners_of(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """The parameter that sets each name, by the names that constraints may use."""
    return {hyphenated(name): p for p in parameters for name in (*p.flags, p.name)}


def listed_values(parameter: Parameter, name: str) -> tuple[Value, ...]:
    """The listed values of a parameter, or of a flag that its named combinations set; empty for a range."""
    if not isinstance(parameter.domain, Choices):
        return ()
    if hyphenated(name) == hyphenated(parameter.name):
        return parameter.domain.values
    points = parameter.combinations.values()
    return tuple(value for point in points for flag, value in point.items() if hyphenated(flag) == hyphenated(name))


def named_parameters(condition: Constraint, owners: Mapping[str, Parameter]) -> tuple[Parameter, ...]:
    """The parameters that a condition depends on."""
    found = (owners[name] for name in sorted(condition.names) if name in owners)
    return tuple({p.name: p for p in found}.values())


def in_order_of_dependence(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """The parameters, each after those that its condition names. Those in a cycle, and all that depend on them, are
    missing."""
    needed = _needed(parameters)
    found: dict[str, Parameter] = {}
    waiting = list(parameters)
    while ready := next((p for p in waiting if needed[p.name] <= set(found)), None):
        waiting.remove(ready)
        found[ready.name] = ready
    return tuple(found.values())


def cycle(parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """Names of parameters whose conditions form a cycle, each before the one it depends on; empty if there is none."""
    needed = _needed(parameters)
    free = {p.name for p in in_order_of_dependence(parameters)}
    name = next((p.name for p in parameters if p.name not in free), None)
    path: list[str] = []
    while name is not None and name not in path:
        path.append(name)
        name = next(other for other in sorted(needed[name]) if other not in free)
    return tuple(path[path.index(name) :]) if name is not None else ()


def _needed(parameters: Sequence[Parameter]) -> dict[str, set[str]]:
    owners = owners_of(parameters)
    return {
        p.name: {other.name for other in named_parameters(Constraint.parse(p.when), owners)} if p.when else set()
        for p in parameters
    }


def seen_by_constraints(parameters: Iterable[Parameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """Values by the names that constraints may use: those of parameters, and of the flags in named combinations.

    A flag that a combination leaves out is left to the engine.
    """
    found = dict(values)
    for parameter in parameters:
        if parameter.combinations and parameter.name in values:
            found |= dict.fromkeys(parameter.flags)
            found |= parameter.set_by(values[parameter.name])
    return found


def named_in(known: Mapping[str, Value], names: Collection[str]) -> dict[str, Value]:
    """The known values that constraints with these names may use, hyphenated."""
    return {hyphenated(name): value for name, value in known.items() if hyphenated(name) in names}


def without_absent(
    known: Mapping[str, Value], parameters: Iterable[Parameter], values: Mapping[str, Value]
) -> dict[str, Value]:
    """Known values by hyphenated name, without those of parameters that have no value: these are unknown, whatever
    their default."""
    absent = {hyphenated(n) for p in parameters if p.name not in values for n in (p.name, *p.flags)}
    return {name: value for name, value in known.items() if name not in absent}


def outcome(constraint: Constraint, seen: Mapping[str, Value], known: Mapping[str, Value]) -> bool | None:
    """Whether a constraint holds; None if that depends on an unknown value.

    Args:
        constraint: The constraint.
        seen: Values of a configuration, see :func:`seen_by_constraints`. A null equals both null and the default, if
            ``known`` has it.
        known: Values of other names, and the engine's defaults.
    """
    given = {name: value for name, value in seen.items() if value is not None}
    left_out = frozenset(hyphenated(name) for name in seen if name not in given)
    return constraint.holds({**seen, **known, **given}, left_out)
