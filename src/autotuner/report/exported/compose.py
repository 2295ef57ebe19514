"""The winner as a service of Docker Compose."""

from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.manifests.compose import compose_file, container_env
from autotuner.manifests.container_settings import ContainerSettings
from autotuner.manifests.platform_translation import CONTAINER_IN_COMPOSE, POD_IN_COMPOSE, as_pod, notes, runtime_note
from autotuner.manifests.pod_settings import PlainPod
from autotuner.manifests.server import Server
from autotuner.manifests.volume import Volume, model_volumes
from autotuner.report.exported.options import Form, ManifestOptions, name_of
from autotuner.report.exported.pod_parts import image_of, labels_of
from autotuner.report.exported.winner import Winner
from autotuner.study.spec import is_local


def compose(winner: Winner, options: ManifestOptions) -> tuple[list[dict[str, Any]], list[str]]:
    """Builds the Compose file.

    Returns:
        The file as the only object, and notes for the reader.

    Raises:
        UsageError: If the winner cannot run as a Compose service.
    """
    origin = winner.origin
    settings = origin.container or ContainerSettings()
    pod = as_pod(origin) if origin.pod is not None else None
    port = options.port or (pod or settings).container_port
    command, args = winner.entry(port)
    server = Server(
        image=image_of(winner, options.image),
        command=command,
        args=args,
        port=port,
        ready_path=winner.plan.readiness.path,
        gpus=winner.gpus,
        uses_hub=bool(winner.plan.hub_models) and origin.volumes is None,
        volumes=_volumes(winner, settings, pod),
    )
    env = _env(winner, server, pod)
    file = compose_file(
        options.name or name_of(winner.result.spec.name, Form.COMPOSE),
        server,
        settings,
        env=env,
        labels={**(pod.labels if pod else {}), **labels_of(winner)},
        keeps_hub=server.uses_hub,
        pod=pod,
    )
    remarks = [
        f"{name} is taken from the environment in which Compose is started" for name, v in env.items() if v is None
    ]
    remarks += [*notes(origin, POD_IN_COMPOSE, CONTAINER_IN_COMPOSE), *runtime_note(origin)]
    if sources := [str(one.secret or one.config_map) for one in (pod.env_from if pod else ())]:
        remarks.append(f"variables from {', '.join(sources)} are not included")
    return [file], [*remarks, f"it is ready when GET /{winner.plan.readiness.path.lstrip('/')} succeeds"]


def _volumes(winner: Winner, settings: ContainerSettings, pod: PlainPod | None) -> tuple[Volume, ...]:
    """The volumes of the measured container; otherwise the model's files under their own paths."""
    if winner.origin.volumes is not None:
        return winner.origin.volumes
    if is_local(winner.model) and not winner.model.startswith("/"):
        why = "is not an absolute path"
        remedy = "write the full path of the model in the study"
        raise UsageError(Problem(where="model.path", value=winner.model, why=why, remedy=remedy))
    shown = model_volumes(winner.plan.needs_files, pod.model_roots if pod else ())
    taken = {volume.target for volume in settings.mounts}
    return (*settings.mounts, *(volume for volume in shown if volume.target not in taken))


def _env(winner: Winner, server: Server, pod: PlainPod | None) -> dict[str, str | None]:
    """Returns the variables; None for those that come from the environment in which Compose is started."""
    shown, hidden = winner.env()
    return {
        **container_env(pod),
        **server.own_env(),
        **winner.origin.env,
        **shown,
        **dict.fromkeys(hidden),
    }
