"""The text form of requests with images: ``I(512,512)`` and ``I(1024,768,2) input=64 output=128``."""

import re
from collections.abc import Mapping
from typing import Any

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.options import check_names, whole_number
from autotuner.study.workload import Images, Scenario, TokenLengths

OPTIONS = ("input", "output")
LENGTHS = "lengths"
"""Key of the long form that holds the scenario itself."""
_LETTER = re.compile(r"I\s*\(", re.IGNORECASE)
_FORM = re.compile(r"I\s*\(\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*(?:,\s*([0-9]{1,9})\s*)?\)", re.IGNORECASE)
_DEFAULTS = {"input": 64, "output": 128}
_LARGEST = 16_384
_MOST = 64
_REMEDY = "write I(width,height) or I(width,height,count)"


def is_images(text: Any) -> bool:
    """Whether a text begins like such a scenario."""
    return isinstance(text, str) and _LETTER.match(text) is not None


def parse_images(text: str, options: Mapping[str, Any]) -> Scenario:
    """The scenario.

    Args:
        text: ``I(512,512)``, in pixels, with the number of images as a third value if there are several.
        options: Tokens of the text beside the images (``input``) and of the answer (``output``), as written or as
            numbers.

    Raises:
        ValueError: It is not such a scenario.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError("not a scenario", remedy=_REMEDY)
    check_names("I(..)", options, OPTIONS)
    width, height = (_within(digits, _LARGEST, "a side of an image", "pixels") for digits in match.groups()[:2])
    count = _within(match[3] or "1", _MOST, "the number of images", "")
    tokens = {
        name: _within(options.get(name, default), 100_000_000, name, "tokens") for name, default in _DEFAULTS.items()
    }
    images = Images(width=width, height=height, count=count)
    return Scenario(
        text=_text(images, tokens),
        input=TokenLengths(kind="fixed", a=tokens["input"]),
        output=TokenLengths(kind="fixed", a=tokens["output"]),
        images=images,
    )


def long_images(value: Mapping[Any, Any]) -> Scenario:
    """The scenario of ``{lengths: "I(512,512)", input: 64, output: 128}``. Raises ``ValueError``."""
    return parse_images(value[LENGTHS], {str(name): given for name, given in value.items() if name != LENGTHS})


def _text(images: Images, tokens: Mapping[str, int]) -> str:
    count = "" if images.count == 1 else f",{images.count}"
    options = "".join(f" {name}={value}" for name, value in tokens.items() if value != _DEFAULTS[name])
    return f"I({images.width},{images.height}{count}){options}"


def _within(value: Any, most: int, what: str, unit: str) -> int:
    number = whole_number(value, most)
    if number is None:
        raise InvalidValueError(f"{what} must be from 1 to {most} {unit}".rstrip(), remedy=_REMEDY)
    return number
