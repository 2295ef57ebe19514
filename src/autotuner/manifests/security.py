"""Security contexts: the preset that the strictest admission accepts, and what a server needs to run under it.

Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards), level "restricted". OpenShift's
restricted-v2 accepts the same pod as long as it names no user: the namespace's range supplies one.
"""

from collections.abc import Mapping
from typing import Any

from autotuner.invalid_value import InvalidValueError

Json = dict[str, Any]

POD_FIELDS: Mapping[str, type] = {
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
"""Fields of a pod's ``securityContext`` and their types."""
CONTAINER_FIELDS: Mapping[str, type] = {
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
"""Fields of a container's ``securityContext`` and their types."""
_RESTRICTED_POD: Json = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_RESTRICTED_CONTAINER: Json = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_TYPE_NAMES: Mapping[type, str] = {
    int: "a number",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "a mapping",
}
HOME = "/autotuner-home"
_USER = "autotuner"


def check_fields(context: Mapping[str, Any], known: Mapping[str, type]) -> Mapping[str, Any]:
    """Validates a ``securityContext`` and returns it.

    Args:
        context: Fields as in Kubernetes.
        known: Type of each field that Kubernetes knows: ``POD_FIELDS`` or ``CONTAINER_FIELDS``.

    Raises:
        ValueError: If a field is unknown or its value has another type.
    """
    for name, value in context.items():
        if name not in known:
            raise InvalidValueError(f"unknown field {name}", remedy=f"known: {', '.join(known)}")
        if not _has_type(value, known[name]):
            raise ValueError(f"{name} must be {_TYPE_NAMES[known[name]]}, not {value!r}")
    return context


def _has_type(value: Any, expected: type) -> bool:
    if expected is list:
        return isinstance(value, list | tuple)
    if expected is dict:
        return isinstance(value, Mapping)
    # True is an int in Python, but not a user id in Kubernetes.
    return isinstance(value, expected) and (expected is bool or not isinstance(value, bool))


def contexts(preset: str | None, pod: Mapping[str, Any], container: Mapping[str, Any]) -> tuple[Json, Json]:
    """Returns the ``securityContext`` of a pod and of its container.

    Args:
        preset: ``restricted``, or None for no preset.
        pod: Fields of the study for the pod; they override the preset's.
        container: Fields of the study for the container; they override the preset's.
    """
    base = (_RESTRICTED_POD, _RESTRICTED_CONTAINER) if preset == "restricted" else ({}, {})
    return {**base[0], **_plain(pod)}, {**base[1], **_plain(container)}


def _plain(value: Any) -> Any:
    """Converts frozen mappings and tuples to dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def needs_scratch(pod: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    """Returns whether a process with these contexts may lack a writable home folder.

    That is so if it runs as a user that its image was not built for, or its root file system is read-only.
    """
    user = container.get("runAsUser", pod.get("runAsUser"))
    non_root = container.get("runAsNonRoot", pod.get("runAsNonRoot"))
    return bool(user or non_root or container.get("readOnlyRootFilesystem"))


def scratch() -> list[tuple[Json, Json]]:
    """Returns (volume, mount) of each writable folder: ``/tmp``, and a home for compiled kernels and caches."""
    # Two volumes, since a subPath of one volume would belong to root.
    return [
        ({"name": "autotuner-tmp", "emptyDir": {}}, {"name": "autotuner-tmp", "mountPath": "/tmp"}),  # noqa: S108 - of the container
        ({"name": "autotuner-home", "emptyDir": {}}, {"name": "autotuner-home", "mountPath": HOME}),
    ]


def scratch_env() -> dict[str, str]:
    """Returns name and home for a user id that has no entry in ``/etc/passwd``.

    Libraries need both: PyTorch calls ``getpass.getuser``.
    """
    return {"HOME": HOME, "USER": _USER, "LOGNAME": _USER}
