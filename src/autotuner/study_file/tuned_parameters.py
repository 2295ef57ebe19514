"""``parameters`` of a study file, by the engine's names."""

import re
from collections.abc import Callable, Mapping, Sequence

from autotuner.secrets import looks_secret
from autotuner.study.base import Value
from autotuner.study.parameters.conditions import hyphenated
from autotuner.study.parameters.environment import is_variable, tuned_name_problem, variable_of
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.spec import EngineSpec
from autotuner.study_file.form_fields import ParameterForm
from autotuner.study_file.located_document import Document, Path
from autotuner.study_file.named_combinations import CombinationReader
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
        self._combinations = CombinationReader(document, canonical, self._is_refused)
        self._fixed: dict[str, str] = {}
        self.written: dict[str, str] = {}
        """The file's spelling of each parameter's name."""

    def parameters(self, forms: Mapping[str, ParameterForm]) -> list[Parameter]:
        """The parameters in the file's order. A parameter that is also fixed, or written twice, is a problem."""
        self._fixed = self._read_fixed()
        misplaced(forms, ("parameters",), self._document)
        found: dict[str, Parameter] = {}
        for name, form in forms.items():
            path = ("parameters", name)
            if not is_variable(name) and not _NAME.fullmatch(name):
                remedy = "write it as the engine does: tp-size"
                self._document.fault(path, "not a flag's name", value=name, remedy=remedy)
                continue
            parameter = self._parameter(name, form)
            if parameter is None:
                continue
            if parameter.name in found:
                why = f'the same parameter as "{self.written[parameter.name]}"'
                self._document.fault(path, why, remedy="remove one of the two")
            found[parameter.name] = parameter
            self.written[parameter.name] = name
        self._combinations.check_setters(list(found.values()), self.written)
        return list(found.values())

    def _parameter(self, name: str, form: ParameterForm) -> Parameter | None:
        """One parameter; None if it is an environment variable that cannot be tuned."""
        path = ("parameters", name)
        domain = form.domain()
        if form.combinations is None:
            proper = self._canonical(name)
            if is_variable(proper) and self._is_refused_variable(proper, path, form.choices or ()):
                return None
            self._note_if_fixed(proper, path)
            return Parameter(name=proper, domain=domain, when=form.when or "")
        if is_variable(name):
            why = "an environment variable cannot have combinations"
            self._document.fault(path, why, remedy="choose another name; write env.NAME inside the combinations")
        combinations = self._combinations.combinations(name, form)
        return Parameter(
            name=hyphenated(name.lstrip("-")), domain=domain, when=form.when or "", combinations=combinations
        )

    def _is_refused(self, name: str, path: Path, value: Value) -> bool:
        """Whether a flag or variable cannot be part of a combination."""
        before = len(self._document.problems)
        misplaced([name], path[:-1], self._document)
        proper = self._canonical(name)
        if not is_variable(name) and not _NAME.fullmatch(name):
            remedy = "write it as the engine does: tp-size"
            self._document.fault(path, "not a flag's name", value=name, remedy=remedy)
        elif is_variable(proper):
            self._is_refused_variable(proper, path, [value])
        else:
            self._note_if_fixed(proper, path)
        return len(self._document.problems) > before

    def _note_if_fixed(self, name: str, path: Path) -> None:
        if name in self._fixed:
            why = f"both tuned and fixed (engine.args.{self._fixed[name]})"
            self._document.fault(path, why, remedy="remove one of the two")

    def _read_fixed(self) -> dict[str, str]:
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

    def _is_refused_variable(self, name: str, path: Path, values: Sequence[Value]) -> bool:
        """Whether an environment variable cannot be tuned as written."""
        variable = variable_of(name)
        problem = tuned_name_problem(variable)
        if problem is None and looks_secret(variable):
            problem = ("is a secret by its name, but tuned values are stored and shown", "set it under engine.env")
        if problem is None and any(isinstance(value, tuple) for value in values):
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
