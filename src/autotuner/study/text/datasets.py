"""The text form of a dataset: ``dataset:FILE``, or ``dataset:FILE turns=all think=U(2s,8s)`` for its conversations."""

from collections.abc import Callable, Mapping
from typing import Any

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.conversations import ALL, conversations_text, recorded_conversations
from autotuner.study.text.options import path_text, split_options
from autotuner.study.workload import Conversations, Scenario

PREFIX = "dataset:"
KEY = "dataset"
_OPTIONS = ("turns", "think")
_OF_SYNTHETIC = {
    "later": "the texts of later turns come from the file",
    "prefixes": "its prompts are sent unchanged",
    "prefix_tokens": "its prompts are sent unchanged",
    "zipf": "its prompts are sent unchanged",
}
_REMEDY = f"write dataset:FILE, or dataset:FILE turns={ALL} think=U(2s,8s)"

ParseDuration = Callable[[Any], float]


def dataset_text(file: str, conversations: Conversations | None) -> str:
    """The canonical text."""
    return f"{PREFIX}{file}{conversations_text(conversations)}"


def parse_dataset(text: str, duration: ParseDuration) -> Scenario:
    """The dataset of a text.

    Args:
        text: What follows ``dataset:``.
        duration: Parses a pause.

    Raises:
        ValueError: It is not a dataset.
    """
    # A file's name may contain other options.
    file, options = split_options(f"{PREFIX}{text}", (*_OPTIONS, *_OF_SYNTHETIC))
    return _made(file.removeprefix(PREFIX).strip(), options, duration)


def long_dataset(value: Mapping[Any, Any], duration: ParseDuration) -> Scenario:
    """The dataset of ``{dataset: FILE, turns: all, think: ..}``; parameters as for :func:`parse_dataset`."""
    known = (KEY, *_OPTIONS, *_OF_SYNTHETIC)
    for key in value:
        if key not in known:
            remedy = did_you_mean(str(key), [KEY, *_OPTIONS])
            raise InvalidValueError(f'unknown key "{key}"', remedy=remedy)
    file = value[KEY]
    if not isinstance(file, str):
        raise InvalidValueError("has no file name", remedy=f"write {{{KEY}: FILE}}")
    options = {name: value[name] for name in known[1:] if value.get(name) is not None}
    return _made(file.removeprefix(PREFIX).strip(), options, duration)


def _made(file: str, options: Mapping[str, Any], duration: ParseDuration) -> Scenario:
    if not file:
        raise InvalidValueError("has no file name", remedy=_REMEDY)
    path_text(file)
    for name in options:
        if name in _OF_SYNTHETIC:
            raise InvalidValueError(
                f"{name} does not apply to a dataset: {_OF_SYNTHETIC[name]}", remedy=f"remove {name}"
            )
    conversations = recorded_conversations(options, duration)
    return Scenario(text=dataset_text(file, conversations), dataset=file, conversations=conversations)
