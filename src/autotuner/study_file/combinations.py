"""``parameters`` as a list: the combinations to try, instead of all combinations of the parameters' values."""

from collections.abc import Callable, Mapping
from typing import Any

from autotuner.invalid_value import InvalidValueError
from autotuner.study.base import Value, same
from autotuner.study_file.form_fields import MAX_COMBINATIONS, ParameterForm, file_value
from autotuner.study_file.located_document import Document

Written = list[dict[str, Value]]


def read_combinations(listed: list[Any], document: Document) -> Written:
    """The combinations as written; problems go to the document."""
    if not listed:
        document.fault(
            ("parameters",), "the list is empty", remedy="write {flag: value, flag: value} for each combination"
        )
    if len(listed) > MAX_COMBINATIONS:
        why = f"more than {MAX_COMBINATIONS} combinations"
        remedy = "write ranges and constraints instead"
        document.fault(("parameters",), why, remedy=remedy)
        return []
    return [_combination(item, index, document) for index, item in enumerate(listed)]


def _combination(item: Any, index: int, document: Document) -> dict[str, Value]:
    if not isinstance(item, Mapping):
        remedy = "write {flag: value, flag: value}"
        document.fault(("parameters", index), "must be a mapping of flags to values", value=item, remedy=remedy)
        return {}
    point: dict[str, Value] = {}
    for name, value in item.items():
        try:
            point[name] = file_value(value)
        except InvalidValueError as error:
            document.fault(("parameters", index, name), error.why, value=value, remedy=error.remedy)
    return point


def forms_of(written: Written, canonical: Callable[[str], str], document: Document) -> dict[str, ParameterForm]:
    """One form per parameter, under its first spelling, with its values in the combinations.

    Args:
        written: The combinations as written.
        canonical: Gives a flag's one name.
        document: Takes the problems.
    """
    spelled: dict[str, str] = {}
    for index, point in enumerate(written):
        seen: set[str] = set()
        for name in point:
            flag = canonical(name)
            if flag in seen:
                why = "the same parameter twice in one combination"
                remedy = "remove one of the two"
                document.fault(("parameters", index, name), why, remedy=remedy)
            seen.add(flag)
            spelled.setdefault(flag, name)
    values: dict[str, list[Value]] = {flag: [] for flag in spelled}
    for point in _complete(written, canonical):
        for flag, value in point.items():
            if not any(same(value, other) for other in values[flag]):
                values[flag].append(value)
    return {spelled[flag]: ParameterForm(choices=found) for flag, found in values.items()}


def points_of(written: Written, canonical: Callable[[str], str], document: Document) -> tuple[Mapping[str, Value], ...]:
    """The combinations with a value for every parameter; None for one that a combination leaves out."""
    found: list[dict[str, Value]] = []
    for index, point in enumerate(_complete(written, canonical)):
        first = next((i for i, other in enumerate(found) if all(same(other[n], point[n]) for n in point)), None)
        if first is not None:
            why = f"the same combination as parameters[{first}]"
            document.fault(("parameters", index), why, remedy="remove one of the two")
        found.append(point)
    return tuple(found)


def _complete(written: Written, canonical: Callable[[str], str]) -> list[dict[str, Value]]:
    proper = [{canonical(name): value for name, value in point.items()} for point in written]
    names = list(dict.fromkeys(name for point in proper for name in point))
    return [{name: point.get(name) for name in names} for point in proper]
