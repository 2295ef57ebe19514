"""Removal of secrets from text, documents, data and models."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from autotuner.secrets.finding import flagged_items
from autotuner.secrets.forms import HIDDEN, without_assigned, without_forms
from autotuner.secrets.known import known_secrets, spellings
from autotuner.secrets.names import REFERRING, hides, looks_secret

T = TypeVar("T", bound=BaseModel)
_REMEMBERED = 200
"""Longest text whose cleaned form is remembered while one piece of data is cleaned."""

_WITHOUT_TEXT = frozenset({int, float, bool, type(None)})


def clean_text(text: str, secrets: Iterable[str] = ()) -> str:
    """A message, a command line or a piece of a log without secrets.

    Args:
        text: Any text.
        secrets: Values to remove besides those that this process knows.
    """
    return _Cleaner(secrets).text(text)


def clean_document(text: str, secrets: Iterable[str] = ()) -> str:
    """A whole document (HTML, YAML, CSV) without secrets that are known or that their form gives away.

    Assignments in it are left alone: ``token: hub`` may be a reference, and code is full of them. The data that fills
    the document has been cleaned before.
    """
    return without_forms(_Cleaner(secrets).known(text))


def clean(data: Any, secrets: Iterable[str] = ()) -> Any:
    """Nested plain data without secrets."""
    return _Cleaner(secrets).data(data)


def clean_model(model: T, secrets: Iterable[str] = ()) -> T:
    """A model without secrets; the same object if it holds none."""
    found: T = _Cleaner(secrets).model(model)
    return found


def clean_models(models: Iterable[T], secrets: Iterable[str] = ()) -> list[T]:
    """As :func:`clean_model`, for models with many texts in common, such as the trials of a study."""
    cleaner = _Cleaner(secrets)
    return [cleaner.model(model) for model in models]


@cache
def _fields(kind: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a model that may hold more than a number: most of what a long study holds is numbers."""
    return tuple(name for name, field in kind.model_fields.items() if not _is_number(field.annotation))


def _is_number(annotation: Any) -> bool:
    if get_origin(annotation) in {Union, UnionType}:
        return all(map(_is_number, get_args(annotation)))
    return annotation in _WITHOUT_TEXT


def _as(given: Any, items: list[Any]) -> Any:
    """The items as a list or, for a hashable model's sake, as a tuple, like the given value."""
    return tuple(items) if isinstance(given, tuple) else items


class _Cleaner:
    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = spellings({*secrets, *known_secrets()})
        self._texts: dict[str, str] = {}

    def known(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def text(self, text: str) -> str:
        found = self._texts.get(text)
        if found is None:
            found = without_assigned(without_forms(self.known(text)))
            if len(text) <= _REMEMBERED:
                self._texts[text] = found
        return found

    def data(self, data: Any, *, refers: bool = False) -> Any:
        """Plain data or a model without secrets; ``refers``: inside a section whose values are only references."""
        kind = type(data)
        if kind is str:
            return self.text(data)
        if kind in _WITHOUT_TEXT:
            return data
        if isinstance(data, Mapping):
            return {key: self._under(key, value, refers=refers) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return _as(data, self._listed(data, refers=refers))
        if isinstance(data, BaseModel):
            return self.model(data, refers=refers)
        return self.text(data) if isinstance(data, str) else data

    def _under(self, key: object, value: Any, *, refers: bool) -> Any:
        name = str(key)
        below = refers or name in REFERRING
        if not refers and looks_secret(name):
            if hides(name, value):
                return HIDDEN
            if isinstance(value, list | tuple):
                return _as(value, [HIDDEN if hides(name, item) else self.data(item, refers=below) for item in value])
        return self.data(value, refers=below)

    def _listed(self, items: Sequence[Any], *, refers: bool) -> list[Any]:
        if not any(isinstance(item, str) for item in items):
            return [self.data(item, refers=refers) for item in items]
        return [HIDDEN if flagged else self.data(item, refers=refers) for item, flagged in flagged_items(items)]

    def model(self, model: Any, *, refers: bool = False) -> Any:
        """The model without secrets; only fields that change are copied, so that a long study costs little."""
        changes: dict[str, Any] = {}
        kind: type[BaseModel] = type(model)
        for name in (*_fields(kind), *(model.__pydantic_extra__ or ())):
            value = getattr(model, name)
            cleaned = self._field(name, value, refers=refers)
            if cleaned is not value:
                changes[name] = cleaned
        return model.model_copy(update=changes) if changes else model

    def _field(self, name: str, value: Any, *, refers: bool) -> Any:
        if not value or type(value) in _WITHOUT_TEXT:
            return value
        if isinstance(value, str):
            cleaned = self._under(name, value, refers=refers)
            return value if cleaned == value else cleaned
        below = refers or name in REFERRING
        if isinstance(value, BaseModel):
            return self.model(value, refers=below)
        if isinstance(value, tuple) and all(isinstance(item, BaseModel) for item in value):
            models = tuple(self.model(item, refers=below) for item in value)
            return models if any(a is not b for a, b in zip(models, value, strict=True)) else value
        if isinstance(value, Mapping | list | tuple):
            cleaned = self._under(name, value, refers=refers)
            return value if cleaned == value else cleaned
        return value
