"""Phrases found in messages that Kubernetes and OME wrote."""

import pytest

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.deployers.kubernetes.failure_phrases import Phrase

MESSAGES: dict[str, list[str]] = {
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.": ["GPU"],
    '0/1 nodes are available: persistentvolumeclaim "models" not found.': ["CLAIM_MISSING"],
    'pods "x" is forbidden: exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2': ["QUOTA_EXCEEDED"],
    'failed calling webhook "x.example": Post "https://x": connection refused': ["START_PASSING", "WEBHOOK_DOWN"],
    'MountVolume.SetUp failed for volume "m" : hostPath type check failed: /m is a file': ["HOST_PATH_MISSING"],
    "container has runAsNonRoot and image will run as root (pod: x)": ["ROOT_IMAGE"],
    'exec: "sglang": executable file not found in $PATH: unknown': ["PROGRAM_MISSING"],
    "error running hook: nvidia-container-cli: initialization error": ["DEVICE_MISSING"],
    "rpc error: code = DeadlineExceeded desc = context deadline exceeded": ["START_PASSING"],
    'would violate PodSecurity "restricted:latest": runAsNonRoot != true': ["POD_SECURITY_WARNING", "ROOT_IMAGE"],
}


@pytest.mark.parametrize("message", MESSAGES)
def test_phrases(message: str) -> None:
    # These two are only used for messages of one reason each; other messages contain "not found" too.
    generic = {"IMAGE_HOPELESS", "MODEL_UNRESOLVED"}
    table = {name: value for name, value in vars(failure_phrases).items() if isinstance(value, Phrase)}
    found = sorted(name for name, phrase in table.items() if phrase.found_in(message))
    assert [name for name in found if name not in generic] == MESSAGES[message]


def test_phrases_name_their_sources() -> None:
    table = [value for value in vars(failure_phrases).values() if isinstance(value, Phrase)]
    assert len(table) == len({phrase.pattern for phrase in table})
    assert all(phrase.source for phrase in table)
