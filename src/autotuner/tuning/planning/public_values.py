"""Secrets in values that end up on a command line."""

from autotuner.errors import Problem, UsageError
from autotuner.secrets import has_secret_form, looks_secret
from autotuner.study.base import Value
from autotuner.study.spec import StudySpec

_ENV = "set the variable that the server reads it from under engine.env, or export it"
_OTHER_WAY = {"path": "leave user and password out of the address", "name": "choose another name"}


def check_public(spec: StudySpec) -> None:
    """Refuses secrets on a command line, which every user of the machine can read, and in configurations, which are
    stored and launched again."""
    given: list[tuple[str, str, Value]] = [("model", "path", spec.model.path), ("model", "name", spec.model.name)]
    given += [(f"engine.args.{name}", name, value) for name, value in spec.engine.args.items()]
    for parameter in spec.parameters:
        where = f"parameters.{parameter.name}"
        given += [(where, flag, value) for point in parameter.listed for flag, value in point.items()]
    problems = {
        where: Problem(where=where, why="is a secret, and a command line is public", remedy=_OTHER_WAY.get(name, _ENV))
        for where, name, value in given
        if (isinstance(value, str) and (looks_secret(name) or has_secret_form(value)))
        or (isinstance(value, int | float) and not isinstance(value, bool) and looks_secret(name))
    }
    if problems:
        raise UsageError(problems.values())
