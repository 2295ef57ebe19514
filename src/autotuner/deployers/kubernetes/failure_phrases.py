"""Phrases that classify a message where no field of the API does, each with the program that writes it.

Messages are not a stable interface, so every phrase that a decision depends on is kept here and nowhere else.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrase:
    """A text that a message contains."""

    pattern: str
    """A regular expression, matched case-insensitively."""
    source: str
    """The program that writes it, and where."""

    def found_in(self, message: str) -> bool:
        """Returns whether the message contains the phrase."""
        return re.search(self.pattern, message, re.IGNORECASE) is not None


GPU = Phrase(r"gpu", "resource names such as nvidia.com/gpu, as scheduler, quota and kubelet repeat them")
QUOTA_EXCEEDED = Phrase(r"exceeded quota", "kube-apiserver, admission plugin ResourceQuota")
CLAIM_MISSING = Phrase(
    r"persistentvolumeclaim.* not found", "kube-scheduler, plugin VolumeBinding, in the condition PodScheduled"
)
NO_DRY_RUN = Phrase(r"does not support dry run", "kube-apiserver, of a webhook with side effects")
POD_SECURITY_WARNING = Phrase(r"would violate PodSecurity", "kube-apiserver, admission plugin PodSecurity")
WEBHOOK_DOWN = Phrase(r"failed calling webhook", "kube-apiserver, of an admission webhook that does not answer")
WEBHOOK_DENIED = Phrase(r"denied the request", "kube-apiserver, of an admission webhook that rejects the object")
HOST_PATH_MISSING = Phrase(r"hostPath type check failed", "kubelet, volume plugin hostPath, event FailedMount")
ROOT_IMAGE = Phrase(r"runAsNonRoot", "kubelet, reason CreateContainerConfigError, of an image whose user is root")
IMAGE_HOPELESS = Phrase(
    r"not found|manifest unknown|repository does not exist|unauthorized|denied|no match for platform|invalid reference",
    "containerd, CRI-O and the registries behind them, reason ErrImagePull",
)
PROGRAM_MISSING = Phrase(
    r"executable file not found|no such file or directory|permission denied|is a directory",
    "runc and crun",
)
DEVICE_MISSING = Phrase(
    r"nvidia-container-|libnvidia|libcuda|CDI device|unresolvable CDI|driver/library version",
    "NVIDIA Container Toolkit, through the container runtime",
)
START_PASSING = Phrase(
    r"context deadline exceeded|Unavailable|connection refused|is reserved", "containerd and CRI-O while they are busy"
)
MODEL_UNRESOLVED = Phrase(
    r"not found|failed to resolve model", "ome-controller-manager, validating webhook of InferenceService"
)
