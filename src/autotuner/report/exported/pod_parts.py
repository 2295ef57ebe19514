"""What the exported forms have in common: environment, labels, resources."""

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
    """Labels that trace an object back to its study."""
    return winner_labels(winner.result.spec.name, winner.trial.number)


def metadata_of(winner: Winner, pod: ServerPod) -> Json:
    """Labels and annotations: the study's own, and those by which the study is found."""
    return pod_metadata(pod, labels_of(winner), {})


def image_of(winner: Winner, typed: str | None) -> str:
    """The image to run. Raises ``UsageError`` where none is known."""
    image = typed or winner.image
    if image is None:
        why = f"the engine {winner.spec.kind} has no container image of its own"
        remedy = "name one that has the server: --image REPOSITORY:TAG"
        raise UsageError(Problem(where="image", why=why, remedy=remedy))
    return image


def secrets_left_out(winner: Winner, secrets: Mapping[str, SecretKey]) -> list[str]:
    """A line for each variable whose value is not known, unless it is given by reference."""
    _, hidden = winner.env()
    why = "is left out, since its value is a secret that is not stored"
    return [f"{n} {why}; give it by reference: --env-secret {n}=NAME/KEY" for n in hidden if n not in secrets]


def runner_env(winner: Winner, pod: ServerPod, secrets: Mapping[str, SecretKey]) -> list[Json]:
    """A container's variables in OME: the study's, those by reference, and what the rights make necessary."""
    shown, _ = winner.env()
    home = scratch_env() if wants_scratch(pod) else {}
    return env_list({**home, **shown}, secrets)


def resources_of(winner: Winner, pod: ServerPod) -> Json:
    """Requests and limits; parts that are empty are left out."""
    return set_only(resources(pod, winner.gpus))
