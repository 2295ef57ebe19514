"""How an edited study differs from the stored one, by the keys of the study file."""

from collections.abc import Iterator, Mapping
from typing import Any

from autotuner.plain_text import shortened
from autotuner.secrets import clean, secrets_in
from autotuner.study.spec import EngineEntry, StudySpec
from autotuner.study_file.writer import flow_text, workload_section

_LONGEST = 80
"""Characters of a value in a message."""
_BEFORE = 20
"""Characters shown in front of the first difference between two long texts."""


def changed_settings(old: StudySpec, new: StudySpec) -> list[str]:
    """One line for each setting that determines what is measured and differs; empty if only a secret does.

    Args:
        old: The stored study, which holds no secrets.
        new: The edited one.
    """
    secrets = frozenset(secrets_in(new))
    before = _written(old, frozenset())
    after = _written(new, secrets)
    found = list[str]()
    if bool(old.engines) != bool(new.engines):
        found.append(f"it had {_servers(old)}, now has {_servers(new)}")
        for settings in (before, after):
            for section in ("engine", "deploy", "engines[0]"):
                settings.pop(section, None)
    found += _differing("", before, after)
    # Settings of an earlier version may read the same in the file.
    return found or [*_differing("", clean(old.measured, frozenset()), clean(new.measured, secrets))]


def changed_engine(old: EngineEntry, new: EngineEntry, spec: StudySpec) -> list[str]:
    """As :func:`changed_settings`, for an engine of ``spec`` that the stored study has under the same name."""
    before = clean(old.measured, frozenset())
    after = clean(new.measured, frozenset(secrets_in(spec)))
    return [*_differing("", _flat(before), _flat(after))]


def change_text(path: str, old: Any, new: Any) -> str:
    """One setting that changes what is measured. A long list is described by its items, a long text by the part that
    differs."""
    if old is None and isinstance(new, Mapping):
        return f"{path} was added"
    if new is None and isinstance(old, Mapping):
        return f"{path} was removed"
    texts = _text(old), _text(new)
    if max(map(len, texts)) <= _LONGEST:
        return f"{path} was {texts[0]}, is now {texts[1]}"
    if isinstance(old, list) and isinstance(new, list):
        lost = ", ".join(_text(item) for item in old if item not in new)
        gained = ", ".join(_text(item) for item in new if item not in old)
        parts = [f"{verb} {_cut(items)}" for verb, items in (("lost", lost), ("gained", gained)) if items]
        return f"{path} {' and '.join(parts) or 'is in another order'}"
    alike = next((i for i, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), min(map(len, texts)))
    start = max(0, alike - _BEFORE)
    was, now = (_cut("…" * (start > 0) + text[start:]) for text in texts)
    return f"{path} was {was}, is now {now}"


def _written(spec: StudySpec, secrets: frozenset[str]) -> dict[str, Any]:
    """The settings that determine what is measured, by their names in the file."""
    found: dict[str, Any] = clean({**spec.measured, "workload": workload_section(spec.workload)}, secrets)
    if "baseline" in found:
        found["engines[0]"] = found.pop("baseline")  # whose default others are compared with
    if "capacity" in found:
        goals = found.pop("capacity")
        found |= {"slo": goals["slos"], "objective": goals["objectives"], "min_success_rate": goals["min_success_rate"]}
    return found


def _servers(spec: StudySpec) -> str:
    return f"engines {', '.join(entry.name for entry in spec.engines)}" if spec.engines else "one engine"


def _flat(measured: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's settings as the study file has them."""
    return {**measured["engine"], "deploy": measured["deploy"]}


def _differing(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differing(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif old != new:
        yield change_text(path, old, new)


def _text(value: Any) -> str:
    return "not set" if value is None else flow_text(value)


def _cut(text: str) -> str:
    return shortened(text, _LONGEST)
