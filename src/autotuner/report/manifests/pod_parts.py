"""What manifests whose servers run in pods have in common: labels, environment, resources, probes."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from autotuner.manifests.pod import resources, set_only, wants_scratch
from autotuner.manifests.pod_settings import StoredPod
from autotuner.manifests.security import scratch, scratch_env
from autotuner.manifests.text import label_value, literal
from autotuner.report.manifests.options import SecretKey
from autotuner.report.manifests.winner import Winner

Json = dict[str, Any]

SHM_SIZE = "16Gi"
"""As deployers give by default; it counts as memory. Tensor parallelism needs much of it."""
TOKEN = "HF_TOKEN"  # noqa: S105 - the variable's name
_NO_GPUS = "NVIDIA_VISIBLE_DEVICES"
"""Images of CUDA ask for all GPUs by it; ``void`` keeps the NVIDIA runtime from handing out any."""


def labels_of(winner: Winner) -> dict[str, str]:
    """By which an object is found and traced back to its study."""
    return {
        "app.kubernetes.io/managed-by": "autotuner",
        "autotuner/study": label_value(winner.result.spec.name),
        "autotuner/trial": str(winner.trial.number),
    }


def stored_pod(winner: Winner) -> StoredPod:
    """What the study says of its pods; nothing where its servers did not run in any."""
    deploy = winner.result.spec.deploy
    return StoredPod.of(deploy.kind, deploy.settings)


def pod_metadata(winner: Winner) -> Json:
    """Labels and annotations: the study's own, and those by which the study is found."""
    pod = stored_pod(winner)
    found: Json = {"labels": {**pod.labels, **labels_of(winner)}}
    return {**found, "annotations": dict(pod.annotations)} if pod.annotations else found


def scratch_of(winner: Winner) -> list[tuple[Json, Json]]:
    """(volume, mount) of the writable folders that the study's security context makes necessary."""
    return scratch() if wants_scratch(stored_pod(winner)) else []


def env_of(
    winner: Winner, secrets: Mapping[str, SecretKey], *, first: Mapping[str, str] | None = None
) -> tuple[list[Json], list[str]]:
    """The variables, and one line for each that had to be left out. ``first`` are ours, which the study's own win over;
    ``secrets`` come by reference, over both."""
    shown, hidden = winner.env()
    home = scratch_env() if wants_scratch(stored_pod(winner)) else {}
    values = {**home, **(first or {}), **shown}
    env: list[Json] = [{"name": n, "value": literal(v)} for n, v in values.items() if n not in secrets]
    env += [{"name": n, "valueFrom": key.reference} for n, key in secrets.items()]
    left_out = [n for n in hidden if n not in secrets]
    remedy = "give it by reference: --env-secret"
    return env, [
        f"{n} is left out, since its value is a secret that is not stored; {remedy} {n}=NAME/KEY" for n in left_out
    ]


def no_gpus(winner: Winner) -> dict[str, str]:
    """What keeps GPUs from a server that does not use any."""
    return {} if winner.gpus else {_NO_GPUS: "void"}


def resources_of(winner: Winner) -> Json:
    """Requests and limits as the study has them; parts that are empty are left out."""
    return set_only(resources(stored_pod(winner), winner.gpus))


def probe(winner: Winner, port: int, **more: int) -> Json:
    """Asks what the engine calls ready."""
    return {"httpGet": {"path": winner.plan.readiness.path, "port": port}, **more}


def folder_of_files(path: str) -> str:
    """What must be seen for a path to be usable: a hub's snapshot is links to files beside it, so all of the model's
    cache folder; else the path."""
    parts = PurePosixPath(path).parts
    for index, part in enumerate(parts[:-1]):
        if part.startswith("models--") and parts[index + 1] == "snapshots":
            return str(PurePosixPath(*parts[: index + 1]))
    return path


def is_file(path: str) -> bool:
    """Whether a path looks like a file, and not like a folder with a version in its name."""
    return bool(re.search(r"\.(gguf|safetensors|bin|json|jinja|ya?ml|jsonl|txt)$", path))
