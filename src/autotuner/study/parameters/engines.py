"""Several engines as one space: the parameter ``engine``, and the parameters of each engine under its name.

``vllm.max-num-seqs`` is the parameter ``max-num-seqs`` of the engine ``vllm``: active only where ``engine`` is
``vllm``, and distinct from other engines' parameters of that name. Portable settings are shared by all engines and keep
their names.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from autotuner.study.base import Value
from autotuner.study.parameters.parameter import Choices, Parameter

ENGINE = "engine"
"""The parameter that chooses the engine."""


def choice(engines: Sequence[str]) -> Parameter:
    """The parameter whose values are the engines."""
    return Parameter(name=ENGINE, domain=Choices(values=tuple(engines)))


def qualified_name(engine: str, name: str) -> str:
    """Name of an engine's parameter or flag in the common space."""
    return f"{engine}.{name}"


def qualified(engine: str, parameter: Parameter, shared: Collection[str]) -> Parameter:
    """An engine's parameter in the common space.

    Args:
        engine: Name of the engine.
        parameter: The parameter by the engine's own names.
        shared: Names of the parameters that all engines have.

    Raises:
        ValueError: If the condition becomes too long.
    """
    when = f"{ENGINE} == '{engine}'"
    if parameter.when:
        when = f"{when} and ({_qualified_text(engine, parameter.when, shared)})"
    return Parameter(
        name=qualified_name(engine, parameter.name),
        domain=parameter.domain,
        when=_checked(when),
        combinations={
            name: {qualified_name(engine, flag): value for flag, value in flags.items()}
            for name, flags in parameter.combinations.items()
        },
    )


def qualified_constraint(engine: str, text: str, shared: Collection[str]) -> str:
    """An engine's constraint in the common space, which excludes nothing of other engines. Raises as
    :func:`qualified`."""
    return _checked(f"{ENGINE} == '{engine}' implies ({_qualified_text(engine, text, shared)})")


def qualified_values(engine: str, values: Mapping[str, Value], shared: Collection[str]) -> dict[str, Value]:
    """Values of an engine's parameters and of shared ones as a point of the common space."""
    return {ENGINE: engine} | {
        name if name in shared else qualified_name(engine, name): value for name, value in values.items()
    }


def own_values(engine: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Values of the common space by the engine's own names. Values of other engines' parameters keep their names, so
    that whoever checks them finds them unknown."""
    prefix = qualified_name(engine, "")
    return {name.removeprefix(prefix): value for name, value in values.items() if name != ENGINE}


def common_known(known: Mapping[str, Mapping[str, Value]], common: Callable[[str], bool]) -> dict[str, Value]:
    """What constraints of the common space know: the values of each engine under its name, and those of common names
    that are equal for all engines also without one.

    Args:
        known: What constraints of each engine know.
        common: Whether a name means the same for all engines. A flag does not, whatever its name.
    """
    found: dict[str, Value] = {
        qualified_name(engine, name): value for engine, values in known.items() for name, value in values.items()
    }
    first, *others = known.values()
    alike = {n: v for n, v in first.items() if common(n) and all(n in o and o[n] == v for o in others)}
    return {**alike, **found}


def _checked(text: str) -> str:
    from autotuner.study.parameters.constraint import Constraint  # commands that only show results need no grammar

    return Constraint.parse(text).text


def _qualified_text(engine: str, text: str, shared: Iterable[str]) -> str:
    from autotuner.study.parameters.conditions import hyphenated
    from autotuner.study.parameters.constraint import Constraint

    kept = {hyphenated(name) for name in shared}
    return Constraint.parse(text).renamed(lambda n: n if n in kept else qualified_name(engine, n)).text
