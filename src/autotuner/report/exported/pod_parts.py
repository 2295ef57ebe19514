"""Environment, labels and resources, which the exported forms share."""

from collections.abc import Mapping
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.manifests.labels import winner_labels
from autotuner.manifests.pod import env_list, pod_metadata, resources, set_only, wants_scratch
from autotuner.manifests.pod_settings import SecretKey, ServerPod
from autotuner.manifests.security import scratch_env
from autotuner.report.exported.winner import Winner

Json = dict[str, Any]


def labels_of(winner: Winner) -> dict[str, str]:
    """Returns labels that identify the study and the trial."""
    return winner_labels(winner.result.spec.name, winner.trial.number)


def metadata_of(winner: Winner, pod: ServerPod) -> Json:
    """Returns labels and annotations: those set in the study, and those that identify it."""
    return pod_metadata(pod, labels_of(winner), {})


def image_of(winner: Winner, typed: str | None) -> str:
    """Returns the image to run.

    Raises:
        UsageError: If none is known.
    """
    image = typed or winner.image
    if image is None:
        why = f"the engine {winner.spec.kind} has no container image of its own"
        remedy = "add --image REPOSITORY:TAG of an image that contains the server"
        raise UsageError(Problem(where="image", why=why, remedy=remedy))
    return image


def secrets_left_out(winner: Winner, secrets: Mapping[str, SecretKey]) -> list[str]:
    """Returns a line for each variable whose value is unknown, unless it is given by reference."""
    _, hidden = winner.env()
    why = "is omitted, because its value is a secret that is not stored"
    return [f"{n} {why}; to set it, add --env-secret {n}=NAME/KEY" for n in hidden if n not in secrets]


def runner_env(winner: Winner, pod: ServerPod, secrets: Mapping[str, SecretKey]) -> list[Json]:
    """Returns the variables of an OME container: the study's, those by reference, and those for a scratch home."""
    shown, _ = winner.env()
    home = scratch_env() if wants_scratch(pod) else {}
    return env_list({**home, **shown}, secrets)


def resources_of(winner: Winner, pod: ServerPod) -> Json:
    """Returns requests and limits without empty parts."""
    return set_only(resources(pod, winner.gpus))
