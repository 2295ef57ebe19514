"""``when`` of parameters and ``constraints``, with canonical names and quoted values."""

from collections.abc import Callable, Mapping, Sequence

from autotuner.invalid_value import InvalidValueError
from autotuner.study.base import Value
from autotuner.study.parameters.bare_words import with_values_quoted
from autotuner.study.parameters.conditions import cycle, hyphenated, listed_values, owners_of
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import file_path, is_portable
from autotuner.study_file.located_document import Document, Path


class ConditionReader:
    """Reads texts that name parameters; problems go to the document.

    Args:
        document: The study file.
        canonical: Gives a flag's or variable's one name.
        parameters: All parameters of the study.
        written: Spelling in the file of each parameter's name, if it differs.
    """

    def __init__(
        self,
        document: Document,
        canonical: Callable[[str], str],
        parameters: Sequence[Parameter],
        written: Mapping[str, str],
    ) -> None:
        self._document = document
        self._canonical = canonical
        self._parameters = parameters
        self._written = written
        self._named = {hyphenated(p.name): p for p in parameters}
        self._owners = {**owners_of(parameters), **self._named}

    def conditional(self) -> tuple[Parameter, ...]:
        """The parameters with conditions that the domain model can evaluate."""
        found = [self._with_condition(p) for p in self._parameters]
        match cycle(found):
            case [name]:
                self._document.fault(self._path(name), "depends on itself", remedy="remove when")
            case [name, *others]:
                why = f"depends on itself through {' and '.join(others)}"
                remedy = f"remove one of the {'conditions' if len(others) > 1 else 'two conditions'}"
                self._document.fault(self._path(name), why, remedy=remedy)
        return tuple(found)

    def constraints(self, constraints: Sequence[Constraint]) -> tuple[str, ...]:
        """The constraints by canonical names. A renamed constraint may become longer than a constraint can be."""
        found = (self._renamed(("constraints", index), one.text) for index, one in enumerate(constraints))
        return tuple(text for text in found if text is not None)

    def _with_condition(self, parameter: Parameter) -> Parameter:
        if not parameter.when:
            return parameter
        return parameter.replaced(when=self._renamed(self._path(parameter.name), parameter.when) or "")

    def _renamed(self, path: Path, text: str) -> str | None:
        try:
            quoted = with_values_quoted(text, self._values)
            return Constraint.parse(quoted).renamed(self._name).text
        except InvalidValueError as error:
            self._document.fault(path, error.why, value=text, remedy=error.remedy)
            return None

    def _name(self, written: str) -> str:
        """A parameter's or flag's canonical name; the name of a group of combinations is not a flag."""
        own = self._named.get(hyphenated(written))
        return own.name if own is not None else self._canonical(written)

    def _values(self, written: str) -> Sequence[Value] | None:
        name = self._name(written)
        parameter = self._owners.get(hyphenated(name))
        return None if parameter is None else listed_values(parameter, name)

    def _path(self, name: str) -> Path:
        if is_portable(name):
            return (*file_path(name).split("."), "when")
        return ("parameters", self._written.get(name, name), "when")
