"""Security contexts: the preset that the strictest admission accepts, and what a server needs to run under it.

Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards), level "restricted". OpenShift's
restricted-v2 accepts the same pod as long as it names no user: the namespace's range supplies one.
"""

from collections.abc import Mapping
from typing import Any

from autotuner.invalid_value import InvalidValueError

Json = dict[str, Any]

POD_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "runAsUser": int,
    "runAsGroup": int,
    "runAsNonRoot": bool,
    "fsGroup": int,
    "fsGroupChangePolicy": str,
    "supplementalGroups": list,
    "supplementalGroupsPolicy": str,
    "seccompProfile": dict,
    "appArmorProfile": dict,
    "seLinuxOptions": dict,
    "seLinuxChangePolicy": str,
    "sysctls": list,
}
"""Fields of a pod's ``securityContext``."""
CONTAINER_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "runAsUser": int,
    "runAsGroup": int,
    "runAsNonRoot": bool,
    "allowPrivilegeEscalation": bool,
    "capabilities": dict,
    "privileged": bool,
    "procMount": str,
    "readOnlyRootFilesystem": bool,
    "seccompProfile": dict,
    "appArmorProfile": dict,
    "seLinuxOptions": dict,
}
"""Fields of a container's ``securityContext``."""
_RESTRICTED_POD: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_RESTRICTED_CONTAINER: Json = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
HOME = "/autotuner-home"
_USER = "autotuner"


def check_fields(given: Mapping[str, Any], known: Mapping[str, type | tuple[type, ...]]) -> Mapping[str, Any]:
    """Returns the context. Raises ``ValueError`` for a field that Kubernetes does not know or a value of another
    type."""
    for name, value in given.items():
        if name not in known:
            raise InvalidValueError(f"unknown field {name}", remedy=f"known: {', '.join(known)}")
        wanted = known[name]
        plain = tuple(value) if isinstance(value, tuple) else value
        right = isinstance(plain, list | tuple) if wanted is list else isinstance(plain, Mapping | dict)
        if wanted not in {list, dict}:
            # True is an int in Python, but not a user id in Kubernetes.
            right = isinstance(plain, wanted) and (wanted is bool or not isinstance(plain, bool))
        if not right:
            raise ValueError(f"{name} must be {_NAMES[wanted]}, not {value!r}")
    return given


_NAMES: Mapping[Any, str] = {int: "a number", bool: "true or false", str: "a text", list: "a list", dict: "a mapping"}


def contexts(preset: str | None, pod: Mapping[str, Any], container: Mapping[str, Any]) -> tuple[Json, Json]:
    """The ``securityContext`` of the pod and of its container; fields of the study override the preset's."""
    base = (_RESTRICTED_POD, _RESTRICTED_CONTAINER) if preset == "restricted" else ({}, {})
    return {**base[0], **_plain(pod)}, {**base[1], **_plain(container)}


def _plain(value: Any) -> Any:
    """Frozen mappings and tuples as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def needs_scratch(pod: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    """Whether a process with these contexts may lack a writable home folder: it runs as a user that its image was not
    built for, or its root file system is read-only."""
    user = container.get("runAsUser", pod.get("runAsUser"))
    non_root = container.get("runAsNonRoot", pod.get("runAsNonRoot"))
    return bool(user or non_root or container.get("readOnlyRootFilesystem"))


def scratch() -> list[tuple[Json, Json]]:
    """(volume, mount) of each writable folder: ``/tmp``, and a home for compiled kernels and caches. Two volumes,
    since a ``subPath`` of one would belong to root."""
    return [
        ({"name": "autotuner-tmp", "emptyDir": {}}, {"name": "autotuner-tmp", "mountPath": "/tmp"}),  # noqa: S108 - of the container
        ({"name": "autotuner-home", "emptyDir": {}}, {"name": "autotuner-home", "mountPath": HOME}),
    ]


def scratch_env() -> dict[str, str]:
    """Variables for a user id without an entry in ``/etc/passwd``, which has no name and no home: libraries need both
    (PyTorch calls ``getpass.getuser``)."""
    return {"HOME": HOME, "USER": _USER, "LOGNAME": _USER}
