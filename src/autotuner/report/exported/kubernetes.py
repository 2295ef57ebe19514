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
    """The objects, and what the reader should know. Raises ``UsageError`` for what a pod cannot have."""
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
    said = [
        *secrets_left_out(winner, server.secrets),
        *_absent_files(winner),
        *_queue(settings),
        *notes(origin, {}, CONTAINER_IN_DEPLOYMENT),
        *runtime_note(origin),
    ]
    return objects, said


def _with_options(settings: PlainPod, options: ManifestOptions) -> PlainPod:
    """The study's settings; what was typed takes precedence."""
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
    # A token that was typed is wanted even where the plan downloads nothing by itself.
    token = settings.hub_token_secret if uses_hub or options.hub_token_secret else None
    claim, volumes = _model(winner, options, settings)
    if options.cache_pvc and not uses_hub:
        raise UsageError.at(
            "model.path",
            "is not a hub's id: there is nothing to cache",
            value=winner.model,
            remedy="--pvc holds a model's files",
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
    """The claim that holds the model, and the folders of the node that hold everything else."""
    own = winner.origin.container.mounts if winner.origin.container else ()
    files = winner.plan.needs_files
    claim = _typed_claim(winner, options) if options.pvc else (settings.pvc if files else None)
    if claim is not None:
        inside = PurePosixPath(claim.mount_path)
        files = tuple(p for p in files if p != winner.model and not PurePosixPath(p).is_relative_to(inside))
    elif is_local(winner.model) and not winner.model.startswith("/"):
        raise UsageError.at(
            "model.path",
            "is not an absolute path, so a node cannot show it",
            value=winner.model,
            remedy="--pvc CLAIM[:folder]",
        )
    taken = {volume.target for volume in own}
    shown = [volume for volume in model_volumes(files, settings.model_roots) if volume.target not in taken]
    return claim, (*shown, *own)


def _typed_claim(winner: Winner, options: ManifestOptions) -> Claim | None:
    """The claim at the model's own path, so that the command line stays as it was measured."""
    path = winner.model
    if options.pvc is None:
        return None
    if not is_local(path):
        raise UsageError.at(
            "model.path",
            "is a hub's id, which the server fetches",
            value=path,
            remedy="--cache-pvc CLAIM keeps what it fetches",
        )
    if not path.startswith("/"):
        raise UsageError.at(
            "model.path", "is not an absolute path", value=path, remedy="write the model's whole path in the study"
        )
    return options.pvc.at(str(PurePosixPath(path).parent) if is_file(path) else path)


def _queue(settings: PlainPod) -> list[str]:
    if settings.kueue_queue is None:
        return []
    return [f"the Deployment waits in Kueue's queue {settings.kueue_queue}, as the study's servers did"]


def _absent_files(winner: Winner) -> list[str]:
    absent = [path for path in winner.plan.needs_files if not path.startswith("/") and path != winner.model]
    return [f"{path} is looked up in the image's own working folder" for path in absent]
