"""LimitRanges and quotas of a namespace applied to a pod, for accounts that may not dry-run a pod.

Pure. Rules and texts are those of Kubernetes (kubernetes.io/docs/concepts/policy/limit-range).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from autotuner.manifests.text import amount

Json = Mapping[str, Any]

_DEMANDED = frozenset({"cpu", "memory", "ephemeral-storage"})
"""Resources that a container must name once a quota counts them."""


def problems(ranges: Iterable[Json], containers: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Yields (LimitRange, why it would refuse a pod of these containers)."""
    for one in ranges:
        name = str(one["metadata"]["name"])
        for item in (one.get("spec") or {}).get("limits") or ():
            if item.get("type") == "Container":
                for container in containers:
                    for why in _outside(item, _defaulted(container, item), "Container"):
                        yield name, why
            elif item.get("type") == "Pod":
                for why in _outside(item, _summed(containers), "Pod"):
                    yield name, why


def _defaulted(container: Json, item: Json) -> dict[str, dict[str, float]]:
    """Returns requests and limits with the defaults of the LimitRange; without a request, the limit counts as one."""
    resources = container.get("resources") or {}
    limits = {**(item.get("default") or {}), **(resources.get("limits") or {})}
    own = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    requests = {**(item.get("default") or {}), **(item.get("defaultRequest") or {}), **own}
    return {"requests": _amounts(requests), "limits": _amounts(limits)}


def _summed(containers: Sequence[Json]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {"requests": {}, "limits": {}}
    for container in containers:
        for kind, sums in found.items():
            for name, value in _amounts((container.get("resources") or {}).get(kind) or {}).items():
                sums[name] = sums.get(name, 0.0) + value
    return found


def _amounts(given: Mapping[str, Any]) -> dict[str, float]:
    return {name: amount(text) for name, text in given.items()}


def _outside(item: Json, has: Mapping[str, Mapping[str, float]], what: str) -> Iterator[str]:
    requests = has["requests"]
    limits = has["limits"]
    for name, text in (item.get("max") or {}).items():
        if name not in limits:
            yield f"maximum {name} usage per {what} is {text}. No limit is specified"
        elif limits[name] > amount(text):
            yield f"maximum {name} usage per {what} is {text}, but limit is {limits[name]:g}"
    for name, text in (item.get("min") or {}).items():
        if name not in requests:
            yield f"minimum {name} usage per {what} is {text}. No request is specified"
        elif requests[name] < amount(text):
            yield f"minimum {name} usage per {what} is {text}, but request is {requests[name]:g}"
    for name, text in (item.get("maxLimitRequestRatio") or {}).items():
        request = requests.get(name, 0.0)
        limit = limits.get(name, 0.0)
        if request and limit / request > amount(text):
            ratio = f"{limit / request:g}"
            yield f"{name} max limit to request ratio per {what} is {text}, but provided ratio is {ratio}"


def unnamed(quotas: Iterable[Json], ranges: Iterable[Json], containers: Sequence[Json]) -> Iterator[tuple[str, str]]:
    """Yields (quota, key) of each request or limit that a quota requires and some container does not set.

    Defaults of a LimitRange count as set.
    """
    items = [i for one in ranges for i in (one.get("spec") or {}).get("limits") or () if i.get("type") == "Container"]
    merged = {
        kind: {k: v for i in items for k, v in (i.get(kind) or {}).items()} for kind in ("default", "defaultRequest")
    }
    named = [_defaulted(container, merged) for container in containers]
    for quota in quotas:
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # it may not apply to these pods; only the API server knows
        for key in spec.get("hard") or {}:
            kind, name = _place(str(key))
            if name in _DEMANDED and any(name not in one[kind] for one in named):
                yield str(quota["metadata"]["name"]), str(key)


def _place(key: str) -> tuple[str, str]:
    kind, dot, name = key.partition(".")
    return (kind, name) if dot and kind in {"requests", "limits"} else ("requests", key)
