"""Values that are wrong whatever else is set."""

from collections.abc import Iterator, Sequence

from autotuner.errors import Problem, UsageError
from autotuner.plugins.engine import Engine
from autotuner.study.parameters.environment import is_variable
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import is_portable


def check_values(engine: Engine, parameters: Sequence[Parameter]) -> None:
    """Refuses values that are wrong whatever else is set. If all values of a parameter are wrong in the same way, for
    example because its name is wrong, that is one problem."""
    problems: list[Problem] = []
    for parameter in (p for p in parameters if not is_portable(p.name) and not is_variable(p.name)):
        if parameter.combinations:
            problems += _in_combinations(engine, parameter)
            continue
        grid = parameter.domain.grid()
        values = list(grid[:1000]) if grid else []
        wrong = [(i, p) for i, v in enumerate(values) for p in engine.check_value(parameter.name, v)]
        where = f"parameters.{parameter.name}"
        if len(wrong) == len(values) > 1 and len({(p.why, p.remedy) for _, p in wrong}) == 1:
            some = ", ".join(str(v) for v in values[:4]) + (", ..." if len(values) > 4 else "")
            problems.append(wrong[0][1].model_copy(update={"where": where, "value": some}))
        else:
            problems += [p.model_copy(update={"where": f"{where}[{i}]"}) for i, p in wrong]
    if problems:
        raise UsageError(problems)


def _in_combinations(engine: Engine, parameter: Parameter) -> Iterator[Problem]:
    for name, flags in parameter.combinations.items():
        for flag, value in flags.items():
            if not is_variable(flag):
                where = f"parameters.{parameter.name}.combinations.{name}.{flag}"
                yield from (p.model_copy(update={"where": where}) for p in engine.check_value(flag, value))
