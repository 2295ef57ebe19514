"""Labels and annotations: their syntax, and those by which the tuner finds its own objects."""

import hashlib
import re
from collections.abc import Mapping

from autotuner.invalid_value import InvalidValueError
from autotuner.study.launch import Labels

OWN = "autotuner/"
"""Prefix of the labels and annotations that tie an object to a study."""
STUDY = f"{OWN}study"
TRIAL = f"{OWN}trial"
OWNER = f"{OWN}owner"
ROLE = f"{OWN}role"
GROUP = f"{OWN}server"
"""The server's name, on its pod and on the pods of its load generators."""
MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
NAME = "app.kubernetes.io/name"
QUEUE = "kueue.x-k8s.io/queue-name"
"""Label with the name of Kueue's local queue."""
_TUNER = "autotuner"
_LENGTH = 63
_DIGEST = 8
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Syntax of keys and values: kubernetes.io/docs/concepts/overview/working-with-objects/labels."""


def is_label_value(text: str) -> bool:
    """Whether Kubernetes accepts a text as a label's value, which may be empty."""
    return _VALUE.fullmatch(text) is not None


def label_value(text: str) -> str:
    """Any text as a label's value: unchanged if Kubernetes accepts it, else its beginning and a digest."""
    if text and is_label_value(text):
        return text
    bare = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[: _LENGTH - 1 - _DIGEST].strip("._-") or "x"
    return f"{bare}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]}"


def valid_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels. Raises ValueError for one that Kubernetes would refuse."""
    for key, text in labels.items():
        if not _KEY.fullmatch(key) or not is_label_value(text):
            raise ValueError(f"{key}: {text} is not a valid Kubernetes label")
    return labels


def not_ours(found: Mapping[str, str]) -> Mapping[str, str]:
    """Labels or annotations. Raises ValueError for one that the tuner sets itself."""
    for key in found:
        if key.startswith(OWN) or key == MANAGED_BY:
            raise InvalidValueError(f"{key} is managed by autotuner and cannot be set", remedy="choose another key")
    return found


def trial_labels(labels: Labels, name: str, role: str) -> dict[str, str]:
    """Labels by which a trial's object is found; its annotations contain the unshortened texts."""
    return {
        MANAGED_BY: _TUNER,
        INSTANCE: name,
        STUDY: label_value(labels.study),
        TRIAL: str(labels.trial),
        OWNER: label_value(labels.owner),
        ROLE: role,
    }


def trial_annotations(labels: Labels) -> dict[str, str]:
    """Study and owner, unshortened."""
    return {STUDY: labels.study, OWNER: labels.owner}


def winner_labels(study: str, trial: int) -> dict[str, str]:
    """Labels that trace an exported object back to its study. Without an owner, so that no run removes it."""
    return {MANAGED_BY: _TUNER, STUDY: label_value(study), TRIAL: str(trial)}
