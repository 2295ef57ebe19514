"""``parameters`` and ``constraints`` of a study file, by the engine's names."""

import re
from collections.abc import Callable, Mapping, Sequence

from autotuner.invalid_value import InvalidValueError
from autotuner.secrets import looks_secret
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.environment import is_variable, tuned_name_problem, variable_of
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.spec import EngineSpec
from autotuner.study_file.form_fields import ParameterForm
from autotuner.study_file.located_document import Document
from autotuner.study_file.portable_sections import misplaced

Canonical = Callable[[str], str]
"""An engine's one name of a flag, from any spelling."""
_NAME = re.compile(r"-{0,2}[A-Za-z][A-Za-z0-9_.-]*")


class ParameterReader:
    """Reads what is tuned; problems go to the document.

    Args:
        document: The study file.
        canonical: Gives a flag's or variable's one name.
        engine: The engine's section; None if it has problems of its own.
    """

    def __init__(self, document: Document, canonical: Canonical, engine: EngineSpec | None) -> None:
        self._document = document
        self._canonical = canonical
        self._engine = engine

    def parameters(self, forms: Mapping[str, ParameterForm]) -> list[Parameter]:
        """The parameters in the file's order. A parameter that is also fixed, or written twice, is a problem."""
        fixed = self._fixed()
        misplaced(forms, ("parameters",), self._document)
        found: dict[str, Parameter] = {}
        written: dict[str, str] = {}
        for name, form in forms.items():
            path = ("parameters", name)
            if not _NAME.fullmatch(name):
                remedy = "write it as the engine does: tp-size"
                self._document.fault(path, "not a flag's name", value=name, remedy=remedy)
                continue
            proper = self._canonical(name)
            if is_variable(proper) and self._is_refused_variable(proper, path, form):
                continue
            why = ""
            if proper in found:
                why = f'the same parameter as "{written[proper]}"'
            elif proper in fixed:
                why = f"both tuned and fixed (engine.args.{fixed[proper]})"
            if why:
                self._document.fault(path, why, remedy="remove one of the two")
            found[proper] = Parameter(name=proper, domain=form.domain())
            written[proper] = name
        return list(found.values())

    def _fixed(self) -> dict[str, str]:
        """The engine's fixed arguments: their spelling in the file by canonical name."""
        args = self._engine.args if self._engine else {}
        misplaced(args, ("engine", "args"), self._document)
        spelled: dict[str, str] = {}
        for name in args:
            path = ("engine", "args", name)
            if is_variable(name):
                remedy = f"write {variable_of(name)} under engine.env"
                self._document.fault(path, "not a flag of the engine", remedy=remedy)
            first = spelled.setdefault(self._canonical(name), name)
            if first != name:
                self._document.fault(path, f'the same flag as "{first}"', remedy="remove one of the two")
        return spelled

    def _is_refused_variable(self, name: str, path: tuple[str, str], form: ParameterForm) -> bool:
        """Whether an environment variable cannot be tuned as written."""
        variable = variable_of(name)
        problem = tuned_name_problem(variable)
        if problem is None and looks_secret(variable):
            problem = ("is a secret by its name, but tuned values are stored and shown", "set it under engine.env")
        if problem is None and any(isinstance(value, tuple) for value in form.choices or ()):
            problem = (
                "an environment variable has one value",
                "write the list as one string in the engine's format",
            )
        if problem is None and self._engine is not None and variable in self._engine.env:
            problem = (f"both tuned and fixed (engine.env.{variable})", "remove one of the two")
        if problem is not None:
            why, remedy = problem
            self._document.fault(path, why, remedy=remedy)
        return problem is not None

    def constraints(self, constraints: Sequence[Constraint]) -> tuple[str, ...]:
        """The constraints by canonical names. A renamed constraint may become longer than a constraint can be."""
        found = []
        for index, constraint in enumerate(constraints):
            try:
                found.append(constraint.renamed(self._canonical).text)
            except InvalidValueError as error:
                path = ("constraints", index)
                self._document.fault(path, error.why, value=constraint.text, remedy=error.remedy)
        return tuple(found)
