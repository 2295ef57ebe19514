"""The text form of a mix: ``mix:0.7 D(128,48) + 0.3 N(2000,300)/(100,20) model=sql-adapter``."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotuner.errors import did_you_mean
from autotuner.invalid_value import InvalidValueError
from autotuner.study.workload import MixPart, Scenario

PREFIX = "mix:"
KEY = "mix"
_WEIGHT = re.compile(r"([0-9.eE]+\s*%?)\s+(?=\S)")
_PLUS = re.compile(r"\s\+\s")
_NAME = re.compile(r"\s+name\s*=\s*(\S+)")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_RESERVED = ("part", "stage", "first", "later")
"""Words that names of other parts of a load begin with."""
_KEYS = ("weight", "scenario", "name")
_REMEDY = "write e.g. mix: 70% D(128,48) + 30% D(2000,100)"
_HEAVIEST = 1_000_000
_MOST = 1000

ParseScenario = Callable[[Any], Scenario]
ParseWeight = Callable[[Any], float]


def mix_text(parts: Sequence[MixPart]) -> str:
    """The canonical text."""
    return PREFIX + " + ".join(part.text for part in parts)


def parse_mix(text: str, scenario: ParseScenario, weight: ParseWeight) -> Scenario:
    """The mix of a text.

    Args:
        text: What follows ``mix:``.
        scenario: Parses the scenario of a part.
        weight: Parses its weight.

    Raises:
        ValueError: It is not a mix.
    """
    return _mix([_part(term.strip(), scenario, weight) for term in _PLUS.split(text.strip())])


def long_mix(value: Mapping[Any, Any], scenario: ParseScenario, weight: ParseWeight) -> Scenario:
    """The mix of ``{mix: [{weight: 7, scenario: D(128,48)}, ..]}``; parameters as for :func:`parse_mix`."""
    if unknown := [str(key) for key in value if key != KEY]:
        raise InvalidValueError(f'unknown key "{unknown[0]}"', remedy="write {mix: [..]}")
    parts = value[KEY]
    if isinstance(parts, str):
        return parse_mix(parts, scenario, weight)
    if not isinstance(parts, list):
        raise InvalidValueError("a mix is a list", remedy="write {mix: [{weight: 7, scenario: ..}, ..]}")
    return _mix([_long_part(part, scenario, weight) for part in parts])


def _part(term: str, scenario: ParseScenario, weight: ParseWeight) -> MixPart:
    names = _NAME.findall(term)
    if len(names) > 1:
        raise InvalidValueError("has name twice", remedy="remove one")
    rest = _NAME.sub("", term)
    name = names[0] if names else None
    match = _WEIGHT.match(rest)
    if match is None:
        return _made(1.0, scenario(rest), name)
    return _made(weight(match[1]), scenario(rest[match.end() :]), name)


def _long_part(part: Any, scenario: ParseScenario, weight: ParseWeight) -> MixPart:
    if isinstance(part, str):
        return _part(part, scenario, weight)
    if not isinstance(part, Mapping) or "scenario" not in part:
        raise InvalidValueError("a part of a mix needs a scenario", remedy="write {weight: 7, scenario: D(128,48)}")
    if unknown := [str(key) for key in part if key not in _KEYS]:
        raise InvalidValueError(f'unknown key "{unknown[0]}"', remedy=did_you_mean(unknown[0], list(_KEYS)))
    return _made(weight(part.get("weight", 1)), scenario(part["scenario"]), part.get("name"))


def is_name(word: str) -> bool:
    """Whether a part of a mix may be called so."""
    return _WORD.fullmatch(word) is not None and word not in _RESERVED


def _made(weight: float, scenario: Scenario, name: Any) -> MixPart:
    if name is not None and not (isinstance(name, str) and is_name(name)):
        remedy = "write a word of letters, digits, _ and -, e.g. name=chat"
        raise InvalidValueError(f"{name} cannot be the name of a part", remedy=remedy)
    if not 0 < weight <= _HEAVIEST:
        raise InvalidValueError("a weight must be above 0 and at most 1000000", remedy=_REMEDY)
    if (scenario.input is None and scenario.dataset is None) or scenario.images or scenario.conversations:
        remedy = "use D(..), N(..), U(..) or dataset:FILE"
        raise InvalidValueError(f"{scenario.text} cannot be part of a mix", remedy=remedy)
    if _PLUS.search(scenario.text):
        raise InvalidValueError(f'{scenario.text} has a " + ", which separates the parts', remedy="rename the file")
    return MixPart(weight=weight, scenario=scenario, name=name)


def _mix(parts: list[MixPart]) -> Scenario:
    if not 2 <= len(parts) <= _MOST:
        raise InvalidValueError(f"a mix has 2 to {_MOST} parts, not {len(parts)}", remedy=_REMEDY)
    texts = [part.scenario.text for part in parts]
    for text in texts:
        if texts.count(text) > 1:
            raise InvalidValueError(f"has {text} twice", remedy="add their weights")
    names = [part.name for part in parts if part.name]
    for name in names:
        if names.count(name) > 1:
            raise InvalidValueError(f"has two parts with the name {name}", remedy="rename one")
    return Scenario(text=mix_text(parts), mix=tuple(parts))
