"""``baseline`` of a study file: values of tuned parameters that run today."""

from collections.abc import Callable, Mapping, Sequence

from autotuner.errors import did_you_mean
from autotuner.study.base import Value
from autotuner.study.parameters.conditions import hyphenated
from autotuner.study.parameters.environment import is_variable
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.portable import is_portable, vocabulary_problem
from autotuner.study.spec import EngineSpec
from autotuner.study_file.located_document import Document, Path


def read_baseline(
    written: Mapping[str, Value],
    parameters: Sequence[Parameter],
    engine: EngineSpec | None,
    canonical: Callable[[str], str],
    document: Document,
) -> dict[str, Value]:
    """The values by canonical name, in the file's order; problems go to the document.

    Args:
        written: The section.
        parameters: What is tuned.
        engine: The engine's section; None if it has problems of its own.
        canonical: Gives a flag's or variable's one name.
        document: The study file.
    """
    reader = _BaselineReader(parameters, engine, canonical, document)
    for name, value in written.items():
        reader.add(name, value)
    return reader.values


class _BaselineReader:
    def __init__(
        self,
        parameters: Sequence[Parameter],
        engine: EngineSpec | None,
        canonical: Callable[[str], str],
        document: Document,
    ) -> None:
        self._named = {hyphenated(p.name): p for p in parameters}
        self._setters = {flag: p for p in parameters for flag in p.flags}
        self._fixed = {canonical(name): name for name in (engine.args if engine else {})}
        self._canonical = canonical
        self._document = document
        self._spelled: dict[str, str] = {}
        """By parameter, or flag of a combination: its spelling in the section."""
        self.values: dict[str, Value] = {}

    def add(self, name: str, value: Value) -> None:
        path = ("baseline", name)
        own = self._named.get(hyphenated(name.lstrip("-")))
        proper = own.name if own is not None else self._canonical(name)
        parameter = self._setters.get(proper) if own is None else own
        if parameter is None:
            self._unknown(proper, path)
            return
        if proper in self.values:
            why = f'the same parameter as "{self._spelled[proper]}"'
            self._document.fault(path, why, remedy="remove one of the two")
            return
        other = self._set_twice(proper, parameter)
        if other is not None:
            self._document.fault(path, f'also set by "{other}"', remedy="remove one of the two")
        elif self._is_sound(proper, value, parameter, path):
            self.values[proper] = value
            self._spelled[proper] = name

    def _unknown(self, name: str, path: Path) -> None:
        if name in self._fixed:
            why = f"fixed for every launch, the baseline's included (engine.args.{self._fixed[name]})"
            self._document.fault(path, why, remedy="remove one of the two")
            return
        tuned = list(dict.fromkeys([*self._setters, *(p.name for p in self._named.values())]))
        near = did_you_mean(name, tuned)
        remedy = near if near.startswith("did you mean") else "tune it, or fix it for every launch under engine.args"
        self._document.fault(path, "not a tuned parameter", remedy=remedy)

    def _set_twice(self, name: str, parameter: Parameter) -> str | None:
        """The name in the section that sets the same flags: a combination, or a flag of this one."""
        if not parameter.combinations:
            return None
        rivals = parameter.flags if name == parameter.name else (parameter.name,)
        return next((self._spelled[rival] for rival in rivals if rival in self.values), None)

    def _is_sound(self, name: str, value: Value, parameter: Parameter, path: Path) -> bool:
        if parameter.combinations and name == parameter.name:
            known = parameter.domain.values if isinstance(parameter.domain, Choices) else ()
            if value not in known:
                near = did_you_mean(str(value), [str(k) for k in known])
                remedy = near or "name one of them, or write its flags"
                self._document.fault(path, "not one of its combinations", value=value, remedy=remedy)
                return False
        elif is_variable(name) and isinstance(value, tuple):
            remedy = "write the list as one string in the engine's format"
            self._document.fault(path, "an environment variable has one value", remedy=remedy)
            return False
        elif is_portable(name) and (problem := vocabulary_problem(name, value)):
            self._document.fault(path, problem.why, value=value if problem.value else None, remedy=problem.remedy)
            return False
        return True
