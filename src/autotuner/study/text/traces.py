"""The text form of a trace: ``trace:FILE from=10m to=40m sample=10%``."""

from collections.abc import Mapping
from typing import Any

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError
from autotuner.study.base import number_text
from autotuner.study.text.options import split_options
from autotuner.study.workload import TracePart

PREFIX = "trace:"
_OPTIONS = ("from", "to", "sample")
_REMEDY = "write e.g. trace:FILE from=10m to=40m sample=10%"


def trace_text(part: TracePart) -> str:
    """The canonical text of a part of a trace; the inverse of :func:`split_trace`."""
    found = f"{PREFIX}{part.file}"
    if part.begin_s:
        found += f" from={number_text(part.begin_s)}s"
    if part.end_s is not None:
        found += f" to={number_text(part.end_s)}s"
    if part.sample < 1:
        found += f" sample={number_text(part.sample, hundredfold=True)}%"
    return found


def split_trace(text: str) -> dict[str, str]:
    """``file`` and the options of a trace, as written. Raises ``ValueError``."""
    file, options = split_options(text.removeprefix(PREFIX), _OPTIONS)  # a file's name may contain other ones
    return {"file": file, **options}


def long_form(value: Mapping[Any, Any]) -> dict[str, Any]:
    """``file`` and the options of ``{trace: FILE, from: .., to: .., sample: ..}``. Raises ``ValueError``."""
    unknown = [str(key) for key in value if key not in ("trace", *_OPTIONS)]
    if unknown:
        raise InvalidValueError(f'unknown key "{unknown[0]}"', remedy=did_you_mean(unknown[0], ["trace", *_OPTIONS]))
    if not isinstance(value.get("trace"), str):
        raise InvalidValueError("names no trace", remedy="write {trace: FILE, from: 10m, to: 40m, sample: 10%}")
    return {"file": value["trace"].strip(), **{key: value[key] for key in _OPTIONS if value.get(key) is not None}}


def made_part(given: Mapping[str, Any], begin_s: float, end_s: float | None, sample: float) -> TracePart:
    """The part that the options describe, once they are numbers. Raises ``ValueError``."""
    if not given["file"]:
        raise InvalidValueError("has no file name", remedy=_REMEDY)
    if begin_s < 0 or (end_s is not None and end_s <= begin_s):
        raise InvalidValueError("the range from .. to is empty", remedy="to must be later than from")
    if not 0 < sample <= 1:
        raise InvalidValueError("a sample must be above 0 and at most 100%", remedy="write e.g. sample=10%")
    return TracePart(file=given["file"], begin_s=begin_s, end_s=end_s, sample=sample)
