"""Parameters whose values are named combinations of flags: ``profile: {combinations: {latency: {..}}}``."""

from collections.abc import Callable, Mapping, Sequence

from autotuner.study.base import Value, same
from autotuner.study.parameters.parameter import Parameter
from autotuner.study_file.form_fields import ParameterForm
from autotuner.study_file.located_document import Document, Path

Refused = Callable[[str, Path, Value], bool]
"""Whether a flag with this canonical name and value cannot be set at this path; the problem goes to the document."""


class CombinationReader:
    """Reads named combinations; problems go to the document.

    Args:
        document: The study file.
        canonical: Gives a flag's or variable's one name.
        is_refused: Whether a flag or variable cannot be tuned.
    """

    def __init__(self, document: Document, canonical: Callable[[str], str], is_refused: Refused) -> None:
        self._document = document
        self._canonical = canonical
        self._is_refused = is_refused

    def combinations(self, name: str, form: ParameterForm) -> dict[str, dict[str, Value]]:
        """The combinations by canonical flag; two that set the same are a problem."""
        found: dict[str, dict[str, Value]] = {}
        for point, flags in (form.combinations or {}).items():
            path = ("parameters", name, "combinations", point)
            values = self._point(path, flags)
            twin = next((other for other, settings in found.items() if _equal(settings, values)), None)
            if twin is not None:
                self._document.fault(path, f'the same launch as "{twin}"', remedy="remove one of the two")
            found[point] = values
        return found

    def _point(self, path: Path, flags: Mapping[str, Value]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        spelled: dict[str, str] = {}
        for flag, value in flags.items():
            proper = self._canonical(flag)
            if proper in values:
                why = f'the same flag as "{spelled[proper]}"'
                self._document.fault((*path, flag), why, remedy="remove one of the two")
            elif not self._is_refused(flag, (*path, flag), value):
                values[proper] = value
                spelled[proper] = flag
        return values

    def check_setters(self, parameters: Sequence[Parameter], written: Mapping[str, str]) -> None:
        """Adds a problem for each flag that a combination sets and another parameter sets as well.

        Args:
            parameters: All parameters of the study.
            written: Spelling in the file of each parameter's name, if it differs.
        """
        setters: dict[str, str] = {p.name: "" for p in parameters if not p.combinations}
        for parameter in (p for p in parameters if p.combinations):
            for flag in parameter.flags:
                point = next(name for name, flags in parameter.combinations.items() if flag in flags)
                path = ("parameters", written.get(parameter.name, parameter.name), "combinations", point, flag)
                if flag in setters:
                    other = setters[flag]
                    why = f"also set by parameters.{other}" if other else "also tuned by itself"
                    self._document.fault(path, why, remedy="remove one of the two")
                setters.setdefault(flag, parameter.name)


def _equal(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
