"""Rules by which runtimes serve models, with OME's messages. Pure functions."""

import re
from collections.abc import Iterable

from support.ome_standin.kube import Object

_SUFFIX = {"T": 10**12, "B": 10**9, "M": 10**6}
_RELEASE = re.compile(r"v?\d+(\.\d+){0,2}$")


class UnsuitableError(Exception):
    """The reason why a runtime does not serve a model."""


def size_of(text: str) -> float:
    """Parses ``7B`` to a number of parameters; 0 for an invalid text."""
    try:
        return float(text[:-1]) * _SUFFIX[text[-1]] if text[-1:] in _SUFFIX else float(text)
    except ValueError:
        return 0.0


def size_text(parameters: float) -> str:
    """Formats a number of parameters: ``500M``."""
    suffix, unit = next(((s, u) for s, u in _SUFFIX.items() if parameters >= u), ("", 1))
    return f"{parameters / unit:g}{suffix}"


def require(runtime: Object, model: Object, accelerator: str = "") -> None:
    """Raises :class:`UnsuitableError` if the runtime does not serve the model."""
    name = runtime["metadata"]["name"]
    spec = runtime["spec"]
    wanted = model["spec"]
    if spec.get("disabled"):
        scope = "namespace" if runtime["metadata"].get("namespace") else "cluster"
        raise UnsuitableError(f"{scope}-scoped runtime {name} is disabled")
    model_format = wanted.get("modelFormat") or {}
    if not model_format.get("name"):
        raise UnsuitableError("invalid model specification: modelFormat.name: model format name is required")
    refused = f"runtime {name} does not support model {model_format['name']}: "
    listed = (spec.get("acceleratorRequirements") or {}).get("acceleratorClasses") or []
    if accelerator and accelerator not in listed:
        raise UnsuitableError(f"{refused}runtime does not support the required accelerator class {accelerator}")
    reasons = [mismatch(entry, wanted) for entry in spec.get("supportedModelFormats") or []]
    if "" not in reasons:
        why = reasons[0] if reasons else "no supported formats"
        raise UnsuitableError(f"{refused}model format '{_label(wanted)}' not in supported formats: {why}")
    bounds = spec.get("modelSizeRange")
    size = wanted.get("modelParameterSize")
    if bounds and size:
        low = size_of(bounds["min"])
        high = size_of(bounds["max"])
        if not low <= size_of(size) <= high:
            limits = f"[{size_text(low)}, {size_text(high)}]"
            raise UnsuitableError(f"{refused}model size {size} is outside supported range {limits}")


def _label(model: Object) -> str:
    parts = [model["modelFormat"]["name"], model["modelFormat"].get("version"), model.get("modelArchitecture")]
    return "mt:" + ":".join(part for part in parts if part)


def mismatch(entry: Object, model: Object) -> str:
    """Returns the first difference of a runtime's format and a model; a field set on one side only differs."""
    for field, word in (("modelArchitecture", "architecture"), ("quantization", "quantization")):
        mine = model.get(field)
        theirs = entry.get(field)
        if (mine or None) != (theirs or None):
            return f"{word} mismatch (model={mine or ''}, runtime={theirs or ''})"
    for field, word in (("modelFormat", "model format"), ("modelFramework", "model framework")):
        if not _same(model.get(field), entry.get(field)):
            return f"{word} mismatch (model={_shown(model.get(field))}, runtime={_shown(entry.get(field))})"
    return ""


def _shown(part: Object | None) -> str:
    return ":".join(str(part[key]) for key in ("name", "version") if part.get(key)) if part else ""


def _same(model: Object | None, runtime: Object | None) -> bool:
    if not model or not runtime:
        return not model and not runtime
    if model.get("name") != runtime.get("name"):
        return False
    mine = model.get("version")
    theirs = runtime.get("version")
    if not mine or not theirs:
        return not mine and not theirs
    mine = str(mine)
    theirs = str(theirs)
    operator = runtime.get("operator", "Equal")
    released = _RELEASE.match(mine) and _RELEASE.match(theirs)
    if _comparable(mine) is None or _comparable(theirs) is None:
        return False
    if operator == "Equal" or not released:
        return _comparable(mine) == _comparable(theirs)
    if mine.count(".") != theirs.count(".") or mine.startswith("v") != theirs.startswith("v"):
        return False
    # the operator compares the runtime's version with the model's, in this order
    return _numbers(theirs) > _numbers(mine) or (
        operator == "GreaterThanOrEqual" and _numbers(mine) == _numbers(theirs)
    )


def _comparable(version: str) -> tuple[tuple[int, ...], str] | None:
    """The numbers of a version, zero for missing ones, and its suffix; None if the text is not a version."""
    bare = version.removeprefix("v")
    numbers = re.match(r"\d+(\.\d+){0,2}", bare)
    if numbers is None or any(part != str(int(part)) for part in numbers[0].split(".")):
        return None
    found = _numbers(numbers[0])
    return (*found, *(0,) * (3 - len(found))), bare[numbers.end() :]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("v").split("."))


def select(runtimes: Iterable[Object], model: Object) -> Object:
    """Returns the runtime that OME selects for a service without one; raises :class:`UnsuitableError`."""
    found: list[tuple[tuple[bool, int, str], Object]] = []
    reasons = []
    for runtime in runtimes:
        name = runtime["metadata"]["name"]
        try:
            require(runtime, model)
        except UnsuitableError as error:
            reasons.append(str(error))
            continue
        entries = [e for e in runtime["spec"]["supportedModelFormats"] if not mismatch(e, model["spec"])]
        score = max((_score(e) for e in entries if e.get("autoSelect")), default=0)
        if score <= 0:
            reasons.append(f"runtime {name} does not have auto-select enabled")
            continue
        found.append(((not runtime["metadata"].get("namespace"), -score, name), runtime))
    if not found:
        raise UnsuitableError("; ".join(reasons) or "no runtimes exist")
    return min(found, key=lambda pair: pair[0])[1]


def _score(entry: Object) -> int:
    parts = [entry.get("modelFormat") or {}, entry.get("modelFramework") or {}]
    return sum(int(part.get("weight", 1)) for part in parts if part) * int(entry.get("priority", 1))
