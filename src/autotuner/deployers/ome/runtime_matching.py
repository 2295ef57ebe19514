"""Rules by which OME decides whether a runtime serves a model.

They are checked before a service is created, since OME accepts any pair, but creates nothing for one that does not
match.

Rules as in ``pkg/runtimeselector/matcher.go`` and ``pkg/modelver/util.go`` of sgl-project/ome (2026-05): one entry of
``supportedModelFormats`` must match in every field, and a field that is set on one side only does not match.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.deployers.ome.resources import OmeResource

_NUMBER = r"(0|[1-9][0-9]*)"
_VERSION = re.compile(
    rf"(v?){_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(?:\.([^-+]*))?(?:-([^+]*))?(?:\+(.*))?)?)?", re.DOTALL
)
_UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}
_EQUAL = "Equal"
_NEWER = "GreaterThan"
_NEWER_OR_EQUAL = "GreaterThanOrEqual"
_BOUNDS = {_EQUAL: "", _NEWER: "older than ", _NEWER_OR_EQUAL: "at most "}
"""The operator compares the runtime's version with the model's: a greater one in the runtime bounds the model's."""
_COMPONENTS = ("scheduler", "textEncoder", "tokenizer", "transformer", "vae")

Part = Mapping[str, Any]


@dataclass(frozen=True)
class _Version:
    numbers: tuple[int, int, int]
    precision: int
    """Number of parts that the text gives."""
    prefixed: bool
    unofficial: tuple[tuple[str, ...], ...]
    """Suffixes: development, preview and build, as in ``4.45.0.dev0``."""

    @classmethod
    def of(cls, text: str) -> "_Version | None":
        """Parses a version; None if the text is not one."""
        match = _VERSION.fullmatch(text)
        if match is None:
            return None
        written = [n for n in match.group(2, 3, 4) if n is not None]
        extras = tuple(tuple(t.split(".")) if t is not None else () for t in match.group(5, 6, 7))
        if any(not part for extra in extras for part in extra):
            return None
        major, minor, patch = [*map(int, written), 0, 0][:3]
        return cls((major, minor, patch), len(written), bool(match[1]), extras)

    @property
    def official(self) -> bool:
        return not any(self.unofficial)


def why_not(runtime: OmeResource, model: OmeResource) -> list[str]:
    """Returns why the runtime does not serve the model: one reason per supported format, or one for all; empty if it
    does."""
    spec = runtime.spec
    wanted = model.spec
    if spec.get("disabled"):
        return ["it is disabled"]
    if not (wanted.get("modelFormat") or {}).get("name"):
        return ["the model has no modelFormat.name yet, which OME's model agent reads from its files"]
    entries = spec.get("supportedModelFormats") or []
    if not entries:
        return ["it lists no supportedModelFormats"]
    reasons = [_entry(entry, wanted) for entry in entries]
    if "" not in reasons:
        return list(dict.fromkeys(reasons))
    size = _size(spec.get("modelSizeRange"), wanted.get("modelParameterSize"))
    return [size] if size else []


def _entry(entry: Part, model: Part) -> str:
    """Returns the first difference; empty without any."""
    if why := _pipeline(entry.get("diffusionPipeline"), model.get("diffusionPipeline")):
        return why
    for field in ("modelArchitecture", "quantization"):
        mine = model.get(field)
        theirs = entry.get(field)
        if mine != theirs:
            return f"{field} is {_shown(mine)} in the model and {_shown(theirs)} in the runtime"
    for field in ("modelFormat", "modelFramework"):
        if why := _named(field, model.get(field), entry.get(field)):
            return why
    return ""


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def _named(field: str, model: Part | None, runtime: Part | None) -> str:
    """Compares a name with a version. Only the framework may be missing on both sides, since a model has a format."""
    if model is None or runtime is None:
        if model is runtime:
            return ""
        return f"{field} is {_label(model)} in the model and {_label(runtime)} in the runtime"
    if model.get("name") != runtime.get("name"):
        return (
            f"{field}.name is {_shown(model.get('name'))} in the model and {_shown(runtime.get('name'))} in the runtime"
        )
    mine = model.get("version")
    theirs = runtime.get("version")
    operator = str(runtime.get("operator") or _EQUAL)
    if mine is None and theirs is None:
        return ""
    if mine is not None and theirs is not None and _fits(str(mine), str(theirs), operator):
        return ""
    bound = f"{_BOUNDS.get(operator, '')}{theirs}" if theirs is not None else _shown(None)
    return f"{field}.version is {_shown(mine)} in the model and {bound} in the runtime"


def _label(part: Part | None) -> str:
    return _shown(None) if part is None else _shown(part.get("name"))


def _fits(model: str, runtime: str, operator: str) -> bool:
    mine = _Version.of(model)
    theirs = _Version.of(runtime)
    if mine is None or theirs is None:
        return False
    if operator not in {_NEWER, _NEWER_OR_EQUAL} or not (mine.official and theirs.official):
        return (mine.numbers, mine.unofficial) == (theirs.numbers, theirs.unofficial)
    if (mine.precision, mine.prefixed) != (theirs.precision, theirs.prefixed):
        return False
    return mine.numbers < theirs.numbers or (operator == _NEWER_OR_EQUAL and mine.numbers == theirs.numbers)


def _pipeline(runtime: Part | None, model: Part | None) -> str:
    """Compares diffusion pipelines. Only here, fields that the runtime does not set match anything."""
    if runtime is None:
        return ""
    if model is None:
        return "diffusionPipeline is not set in the model"
    pairs = {"className": (model.get("className"), runtime.get("className"))}
    groups = [({name: runtime.get(name) for name in _COMPONENTS}, model)]
    groups.append((runtime.get("additionalComponents") or {}, model.get("additionalComponents") or {}))
    for theirs, mine in groups:
        for name, component in theirs.items():
            if component is None:
                continue
            if mine.get(name) is None:
                return f"diffusionPipeline.{name} is not set in the model"
            for field in ("library", "type"):
                pairs[f"{name}.{field}"] = (mine[name].get(field), component.get(field) or None)
    for name, (has, expected) in pairs.items():
        if expected is not None and has != expected:
            return f"diffusionPipeline.{name} is {_shown(has)} in the model and {expected} in the runtime"
    return ""


def _size(bounds: Part | None, size: str | None) -> str:
    if not bounds or size is None:
        return ""
    low = bounds.get("min")
    high = bounds.get("max")
    if low is None or high is None:
        return "its modelSizeRange has only one of min and max, on which OME's manager crashes up to v0.1.5"
    if _parameters(low) <= _parameters(size) <= _parameters(high):
        return ""
    return f"modelParameterSize {size} is outside its modelSizeRange, {low} to {high}"


def _parameters(text: str) -> float:
    """Parses ``7B`` to a number; 0 for an invalid text, as in OME."""
    unit = _UNITS.get(text[-1:], 1.0)
    try:
        return float(text[:-1] if text[-1:] in _UNITS else text) * unit
    except ValueError:
        return 0.0
