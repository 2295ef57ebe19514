"""Checks of ``when`` and ``constraints`` that need the engine's flags and the target's hardware."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice

from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.plugins.engine import Engine
from autotuner.study.parameters.bare_words import words_beside
from autotuner.study.parameters.conditions import hyphenated, listed_values, owners_of
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import file_path, is_portable
from autotuner.study.parameters.space import Space
from autotuner.study.parameters.tree import MAX_DECIDING

_NO_VALUE = frozenset({"none", "nil", "nothing", "unset", "undefined", "off"})
_NAMED = 2


def check_names(space: Space) -> None:
    """Refuses names in constraints and conditions that nothing has a value for."""
    owners = owners_of(space.parameters)
    names = {*owners, *map(hyphenated, space.known)}
    texts = [(f"constraints[{i}]", c) for i, c in enumerate(space.constraints)]
    texts += [(where(p), Constraint.parse(p.when)) for p in space.parameters if p.when]
    problems = []
    for place, constraint in texts:
        beside = {word.text: hyphenated(name) for name, word in words_beside(constraint.text)}
        for unknown in sorted(constraint.names - names):
            other = beside.get(unknown, "")
            if other not in names and _near(other, owners) and not _near(unknown, owners):
                continue  # a value of a parameter whose name is misspelled; that one is the problem
            why, remedy = _unknown(unknown, other, owners, names)
            problems.append(Problem(where=place, value=constraint.text, why=why, remedy=remedy))
    if problems:
        raise UsageError(problems)


def _unknown(name: str, beside: str, owners: Mapping[str, Parameter], names: Collection[str]) -> tuple[str, str]:
    """Why a name is refused, and the remedy.

    Args:
        name: The name.
        beside: What it is compared with; empty if that is not a name.
        owners: The parameters by name.
        names: All names that have a value.
    """
    listed = listed_values(owners[beside], beside) if beside in owners else ()
    texts = [value for value in listed if isinstance(value, str)]
    if texts or None in listed:
        remedy = did_you_mean(name, texts)
        if None in listed and name.lower() in _NO_VALUE:
            remedy = "write null for a parameter that is left out"
        return f'"{name}" is neither a parameter nor a value of {beside}', remedy
    why = f'"{name}" is not a parameter, fixed argument, catalog default or hardware name'
    if near := _near(name, owners) or _near(name, names):
        return why, f'did you mean "{near}"?'
    tuned = [f'"{one}"' for one in islice(owners, _NAMED)]
    return why, f"name a parameter, such as {' or '.join(tuned)}" if tuned else "remove it"


def _near(wrong: str, known: Collection[str]) -> str:
    return next(iter(get_close_matches(hyphenated(wrong), known, n=1, cutoff=0.75)), "")


def check_conditions(space: Space, engine: Engine, *, fixed: Collection[str], hardware: Collection[str]) -> None:
    """Refuses names of combinations that are flags, and conditions that decide nothing.

    Args:
        space: The study's space.
        engine: The engine.
        fixed: Canonical names of the fixed arguments.
        hardware: Names of the hardware; a condition on them may hold on one machine and not on another.
    """
    problems = [*_flags(space, engine), *(_constant(space, fixed, hardware) or _unsatisfiable(space, hardware))]
    if problems:
        raise UsageError(problems)


def _flags(space: Space, engine: Engine) -> Iterator[Problem]:
    for parameter in space.parameters:
        if parameter.combinations and engine.canonical(parameter.name) in engine.catalog:
            place = f"parameters.{parameter.name}"
            why = f"is also a flag of {engine.kind}"
            yield Problem(where=place, why=why, remedy="choose another name for the combinations")


def _constant(space: Space, fixed: Collection[str], hardware: Collection[str]) -> list[Problem]:
    """Conditions that name no parameter, so that they always have the same outcome."""
    found = []
    for parameter in space.tree.conditional:
        condition = Constraint.parse(parameter.when)
        if space.tree.decided_by(parameter) or condition.names & set(hardware):
            continue
        what = "a fixed argument" if condition.names <= set(map(hyphenated, fixed)) else "nothing that is tuned"
        holds = space.tree.is_active(parameter, {})
        why = f"names {what} ({', '.join(sorted(condition.names))}), so it is always {str(holds).lower()}"
        remedy = "remove when" if holds else "remove when, or the parameter"
        found.append(Problem(where=where(parameter), value=parameter.when, why=why, remedy=remedy))
    return found


def _unsatisfiable(space: Space, hardware: Collection[str]) -> list[Problem]:
    """Conditions that hold for no value of the parameters that they name."""
    if deciding := space.tree.too_many_deciding():
        named = next(p for p in space.tree.conditional if set(deciding) & _deciding(space, p))
        why = f"depends on more than {MAX_DECIDING:,} combinations of the values of {' and '.join(deciding)}"
        return [Problem(where=where(named), value=named.when, why=why, remedy="give them fewer values")]
    if space.combinations or space.size is None:
        return []
    suspect = set(space.tree.never_active()) - _decided_by_hardware(space, hardware)
    found = []
    for parameter in space.tree.conditional:
        if parameter.name in suspect:
            names = " and ".join(sorted(_deciding(space, parameter)))
            why = f'never true: no value of {names} makes "{parameter.when}" hold'
            found.append(Problem(where=where(parameter), why=why, remedy="correct when, or remove the parameter"))
    return found


def _decided_by_hardware(space: Space, hardware: Collection[str]) -> set[str]:
    """Names of the parameters whose conditions depend on the hardware, directly or through other parameters."""
    found = set[str]()
    for parameter in (p for p in space.tree.order if p.when):
        names = Constraint.parse(parameter.when).names
        if names & set(hardware) or _deciding(space, parameter) & found:
            found.add(parameter.name)
    return found


def _deciding(space: Space, parameter: Parameter) -> set[str]:
    return {p.name for p in space.tree.decided_by(parameter)}


def compared_when_inactive(space: Space) -> Iterator[Problem]:
    """Notes on constraints that cannot be decided while a parameter is inactive."""
    conditional = owners_of(space.tree.conditional)
    for index, constraint in enumerate(space.constraints):
        names = sorted({conditional[name].name for name in constraint.names if name in conditional})
        if names:
            why = f"compares {' and '.join(names)}, which may be inactive; the constraint then holds"
            yield Problem(where=f"constraints[{index}]", value=constraint.text, why=why)


def where(parameter: Parameter) -> str:
    """Place of a parameter's condition in the study file."""
    return f"{file_path(parameter.name) if is_portable(parameter.name) else f'parameters.{parameter.name}'}.when"
