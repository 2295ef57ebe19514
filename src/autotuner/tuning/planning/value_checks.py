"""Values that are wrong whatever else is set, and configurations that are."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from autotuner.errors import Problem, UsageError
from autotuner.plugins.engine import Engine
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.environment import is_variable
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import is_portable

if TYPE_CHECKING:
    from autotuner.tuning.planning.prepared_study import Prepared


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


def first_problem(prepared: "Prepared", configuration: Configuration) -> Problem | None:
    """Why engine and hardware refuse a configuration, apart from the memory it takes; None if they do not."""
    try:
        values = prepared.values(configuration)
    except UsageError as error:
        return error.problems[0]
    gpus = prepared.engine.gpus(values) if prepared.deployer.launches else 0
    if gpus > prepared.hardware.gpus:
        why = f"it needs {gpus} GPUs, and the target has {prepared.hardware.gpus}"
        return Problem(where="parameters", why=why, remedy="use fewer GPUs per server, or a larger target")
    return next(iter(prepared.engine.check(values, prepared.hardware)), None)
