"""Security contexts: known fields with their types, the preset, and what a server needs to run under them."""

from typing import Any

import pytest

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.security import CONTAINER_FIELDS, POD_FIELDS, check_fields, contexts, needs_scratch


@pytest.mark.parametrize("context", [{"runAsUser": True}, {"runAsUser": "1000"}, {"supplementalGroups": 5}])
def test_values_of_another_type(context: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        check_fields(context, POD_FIELDS)


def test_fields_of_a_pod_are_not_those_of_a_container() -> None:
    assert check_fields({"fsGroup": 1}, POD_FIELDS) == {"fsGroup": 1}
    with pytest.raises(InvalidValueError):
        check_fields({"fsGroup": 1}, CONTAINER_FIELDS)


def test_fields_of_the_study_override_the_preset() -> None:
    pod, container = contexts("restricted", {"runAsNonRoot": False}, {"capabilities": {"add": ["X"]}})
    assert pod == {"runAsNonRoot": False, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container == {"allowPrivilegeEscalation": False, "capabilities": {"add": ["X"]}}
    assert contexts(None, {}, {}) == ({}, {})


@pytest.mark.parametrize(
    ("pod", "container", "needed"),
    [
        ({}, {}, False),
        ({"runAsUser": 0}, {}, False),
        ({"fsGroup": 5}, {}, False),
        ({"runAsUser": 1000}, {}, True),
        ({"runAsUser": 1000}, {"runAsUser": 0}, False),
        ({"runAsNonRoot": True}, {}, True),
        ({}, {"readOnlyRootFilesystem": True}, True),
    ],
)
def test_only_another_user_or_a_read_only_root_needs_writable_folders(
    pod: dict[str, Any], container: dict[str, Any], needed: bool
) -> None:
    assert needs_scratch(pod, container) == needed
