"""Checks of portable settings before the launch, with their paths in the study file."""

from collections.abc import Iterable, Mapping, Sequence

from autotuner.errors import Problem, UsageError
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.portable import PRESET, SECTIONS, default_of, file_path, is_portable, split

MAX_CHECKED = 1000


def portable_defaults(engine: Engine, parameters: Sequence[Parameter], fixed: Mapping[str, Value]) -> dict[str, Value]:
    """The defaults of portable names that are not fixed, except those that something else decides: a preset of the
    section, or a flag of the engine with the same meaning."""
    own = {n for n in (*fixed, *(flag for p in parameters for flag in p.flags)) if not is_portable(n)}
    domains = {p.name: p.domain for p in parameters}
    found: dict[str, Value] = {}
    for section, known in SECTIONS.items():
        preset = f"{section}.{PRESET}"
        has_preset = preset in fixed or preset in domains
        alone = {preset} if preset in domains and not any(n.startswith(f"{section}.") for n in fixed) else set()
        for name in alone if has_preset else [f"{section}.{key}" for key in known.keys]:
            flags = engine.portable_flags(name)
            if name not in fixed and flags and not flags & own:
                value = default_of(name, domains.get(name))
                found |= {} if value is None else {name: value}
    return found


def portable_problems(
    engine: Engine, parameters: Sequence[Parameter], fixed: Mapping[str, Value], constraints: Sequence[Constraint]
) -> list[Problem]:
    """Values that the engine does not have whatever else is set; then names that say the same thing twice."""
    return list(_values(engine, parameters, fixed)) or list(_conflicts(engine, parameters, fixed, constraints))


def _values(engine: Engine, parameters: Sequence[Parameter], fixed: Mapping[str, Value]) -> Iterable[Problem]:
    for name, value in fixed.items():
        if is_portable(name):
            yield from engine.check_portable(name, value)
    for parameter in parameters:
        if not is_portable(parameter.name):
            continue
        path = file_path(parameter.name)
        listed = isinstance(parameter.domain, Choices)
        seen: set[str] = set()
        for index, value in enumerate((parameter.domain.grid() or ())[:MAX_CHECKED]):
            for problem in engine.check_portable(parameter.name, value):
                where = f"{path}[{index}]" if listed and problem.value else path
                found = problem.model_copy(update={"where": where})
                if str(found) not in seen:
                    yield found
                seen.add(str(found))


def _conflicts(
    engine: Engine, parameters: Sequence[Parameter], fixed: Mapping[str, Value], constraints: Sequence[Constraint]
) -> Iterable[Problem]:
    tuned = [flag for p in parameters for flag in p.flags]
    setters = [(name, engine.portable_flags(name)) for name in (*fixed, *tuned) if is_portable(name)]

    def also_set_by(flag: str) -> str | None:
        return next((name for name, flags in setters if flag in flags), None)

    for flag in tuned:
        if not is_portable(flag) and (name := also_set_by(flag)):
            why = f"means the same as {file_path(name)}, which is set too"
            yield Problem(where=f"parameters.{flag}", why=why, remedy="keep one of the two")
    for flag in fixed:
        twice = next((n for n, flags in setters if flag in flags and n in tuned and split(n)[1] != PRESET), None)
        if not is_portable(flag) and twice:
            why = f"wins over {file_path(twice)}, so that nothing would be tuned"
            yield Problem(where=f"engine.args.{flag}", why=why, remedy="keep one of the two")
    for index, constraint in enumerate(constraints):
        for flag in sorted(constraint.names):
            if not is_portable(flag) and flag not in fixed and (name := also_set_by(flag)):
                why = f'"{flag}" is set by {file_path(name)}'
                remedy = "name the values of the preset" if split(name)[1] == PRESET else f"write {name}"
                yield Problem(where=f"constraints[{index}]", value=constraint.text, why=why, remedy=remedy)


def expanded(engine: Engine, values: Mapping[str, Value]) -> dict[str, Value]:
    """Values as the engine's own flags by canonical name. Raises ``UsageError`` as :meth:`Engine.expand` does."""
    return {engine.canonical(name): value for name, value in engine.expand(values).items()}


def in_file(engine: Engine, fixed: Mapping[str, Value], problem: Problem) -> Problem:
    """A problem of one of the engine's flags, put where the file sets that flag."""
    flag = engine.canonical(problem.where)
    setters = (n for n in fixed if is_portable(n) and flag in map(engine.canonical, engine.portable_flags(n)))
    name = None if flag in fixed else next(setters, None)
    where = file_path(name) if name else f"engine.args.{problem.where}"
    return problem.model_copy(update={"where": where})


def never_launched(
    engine: Engine, parameters: Sequence[Parameter], fixed: Mapping[str, Value], gpus: int
) -> Iterable[Problem]:
    """Tuned portable values that need more GPUs than are available, whatever else is tuned."""
    for parameter in (p for p in parameters if is_portable(p.name)):
        for value in (parameter.domain.grid() or ())[:MAX_CHECKED]:
            try:
                needed = engine.gpus(expanded(engine, {**fixed, parameter.name: value}))
            except UsageError:  # others decide that
                continue
            if needed > gpus:
                why = f"needs {needed} GPUs; only {gpus} available: not launched"
                yield Problem(where=file_path(parameter.name), value=str(value), why=why)
