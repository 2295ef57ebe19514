"""The winner as a Deployment and a Service of plain Kubernetes."""

from pathlib import PurePosixPath
from typing import Any

from autotuner.errors import UsageError
from autotuner.manifests.kubernetes import deployment
from autotuner.manifests.platform_translation import CONTAINER_IN_DEPLOYMENT, as_pod, notes, runtime_note
from autotuner.manifests.pod_settings import Claim, PlainPod
from autotuner.manifests.server import TOKEN, Server
from autotuner.manifests.volume import Volume, is_file, model_volumes
from autotuner.report.exported.options import Form, ManifestOptions, name_of
from autotuner.report.exported.pod_parts import Json, image_of, labels_of, secrets_left_out
from autotuner.report.exported.winner import Winner
from autotuner.study.spec import is_local


def kubernetes(winner: Winner, options: ManifestOptions) -> tuple[list[Json], list[str]]:
    """Builds a Deployment and a Service.

    Returns:
        The objects, and notes for the reader.

    Raises:
        UsageError: If the winner cannot run in a pod.
    """
    origin = winner.origin
    settings = _with_options(as_pod(origin), options)
    server = _server(winner, options, settings)
    objects = deployment(
        server,
        settings,
        options.name or name_of(winner.result.spec.name, Form.KUBERNETES),
        namespace=options.namespace or origin.namespace,
        labels=labels_of(winner),
        start_timeout_s=winner.plan.readiness.timeout_s,
    )
    remarks = [
        *secrets_left_out(winner, server.secrets),
        *_absent_files(winner),
        *_queue(settings),
        *notes(origin, {}, CONTAINER_IN_DEPLOYMENT),
        *runtime_note(origin),
    ]
    return objects, remarks


def _with_options(settings: PlainPod, options: ManifestOptions) -> PlainPod:
    """Returns the study's settings; options take precedence."""
    typed: dict[str, Any] = {
        "cache_pvc": options.cache_pvc,
        "hub_token_secret": options.hub_token_secret,
        "container_port": options.port,
    }
    return settings.model_copy(update={name: value for name, value in typed.items() if value is not None})


def _server(winner: Winner, options: ManifestOptions, settings: PlainPod) -> Server:
    port = settings.container_port
    command, args = winner.entry(port)
    shown, _ = winner.env()
    uses_hub = bool(winner.plan.hub_models)
    # A token given as an option is needed even if the plan itself downloads nothing.
    token = settings.hub_token_secret if uses_hub or options.hub_token_secret else None
    claim, volumes = _model(winner, options, settings)
    if options.cache_pvc and not uses_hub:
        raise UsageError.at(
            "model.path",
            "is not a Hub ID, so there is nothing to cache",
            value=winner.model,
            remedy="use --pvc for model files",
        )
    return Server(
        image=image_of(winner, options.image),
        command=command,
        args=args,
        port=port,
        ready_path=winner.plan.readiness.path,
        gpus=winner.gpus,
        env=shown,
        secrets={**({TOKEN: token} if token else {}), **options.env_secret},
        uses_hub=uses_hub,
        claim=claim,
        volumes=volumes,
    )


def _model(winner: Winner, options: ManifestOptions, settings: PlainPod) -> tuple[Claim | None, tuple[Volume, ...]]:
    """Returns the claim that holds the model, and volumes with folders of the node for all other files."""
    own = winner.origin.container.mounts if winner.origin.container else ()
    files = winner.plan.needs_files
    claim = _typed_claim(winner, options) if options.pvc else (settings.pvc if files else None)
    if claim is not None:
        inside = PurePosixPath(claim.mount_path)
        files = tuple(p for p in files if p != winner.model and not PurePosixPath(p).is_relative_to(inside))
    elif is_local(winner.model) and not winner.model.startswith("/"):
        raise UsageError.at(
            "model.path",
            "is not an absolute path, so it cannot be mounted from a node",
            value=winner.model,
            remedy="add --pvc CLAIM[:FOLDER]",
        )
    taken = {volume.target for volume in own}
    shown = [volume for volume in model_volumes(files, settings.model_roots) if volume.target not in taken]
    return claim, (*shown, *own)


def _typed_claim(winner: Winner, options: ManifestOptions) -> Claim | None:
    """Returns the claim, mounted at the model's own path so that the command line stays as it was measured."""
    path = winner.model
    if options.pvc is None:
        return None
    if not is_local(path):
        raise UsageError.at(
            "model.path",
            "is a Hub ID, which the server downloads",
            value=path,
            remedy="use --cache-pvc CLAIM to keep the download",
        )
    if not path.startswith("/"):
        raise UsageError.at(
            "model.path", "is not an absolute path", value=path, remedy="write the full path of the model in the study"
        )
    return options.pvc.at(str(PurePosixPath(path).parent) if is_file(path) else path)


def _queue(settings: PlainPod) -> list[str]:
    if settings.kueue_queue is None:
        return []
    return [f"the Deployment uses the Kueue queue {settings.kueue_queue}, as the study's servers did"]


def _absent_files(winner: Winner) -> list[str]:
    absent = [path for path in winner.plan.needs_files if not path.startswith("/") and path != winner.model]
    return [f"{path} is relative to the working directory of the image" for path in absent]
