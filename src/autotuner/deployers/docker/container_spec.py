"""Specification of a trial's container: the body of the create call, and the equivalent ``docker run`` command."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotuner.deployers.docker.client import labels_of
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.manifests.container_settings import host_config, run_options
from autotuner.manifests.server import HUB_CACHE, NO_GPUS, TOKEN
from autotuner.manifests.volume import Volume
from autotuner.secrets import has_secret_form, looks_secret
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, Labels, LaunchPlan

LOOPBACK = "127.0.0.1"
_CACHE = "/root/.cache/huggingface"
_LOG = {"Type": "json-file", "Config": {"max-size": "256m", "max-file": "2"}}


@dataclass(frozen=True)
class ContainerSpec:
    """Everything that determines a trial's container."""

    plan: LaunchPlan
    settings: DockerSettings
    image: str
    argv: tuple[str, ...]
    name: str
    labels: Labels
    gpus: tuple[Gpu, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    """The image's entrypoint if the settings keep it; None: the command replaces it."""
    model_files: tuple[Volume, ...] = ()

    @property
    def on_host(self) -> bool:
        """Whether the container uses this machine's network."""
        return self.settings.network == "host"

    @property
    def volumes(self) -> list[Volume]:
        """The study's volumes, the Hub cache if needed, and the model files; the study's take precedence."""
        configured = self.settings.mounts
        cache = [Volume(source=str(self.settings.cache), target=self._cache)] if self.plan.hub_models else []
        taken = {v.target for v in configured}
        return [*configured, *(v for v in (*cache, *self.model_files) if v.target not in taken)]

    @property
    def _cache(self) -> str:
        return HUB_CACHE if self.settings.user else _CACHE

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments after the image's name.

        An entrypoint that is kept, and that the engine's command begins with, is not repeated.
        """
        if self.entrypoint is None:
            return self.argv[1:]
        length = len(self.entrypoint)
        return self.argv[length:] if self.argv[:length] == self.entrypoint else self.argv

    def env(self) -> dict[str, str]:
        """Returns the container's environment, including the credentials passed on from the tuner's environment."""
        values = {name: os.environ[name] for name in self._passed()}
        hub = {"HF_HOME": self._cache} if self.plan.hub_models else {}
        no_gpus = {} if self.gpus else NO_GPUS
        return {**values, **hub, **no_gpus, **self.plan.env, **self.labels.env()}

    def _passed(self) -> list[str]:
        hub = (TOKEN,) if self.plan.hub_models else ()
        return [name for name in dict.fromkeys((*hub, *self.settings.env_passthrough)) if self._inherits(name)]

    def _inherits(self, name: str) -> bool:
        # A tuned variable must come from the trial's configuration alone.
        return name in os.environ and name not in self.plan.tuned_env

    def config(self) -> dict[str, Any]:
        """Returns the body of the engine's create call."""
        port = f"{self.settings.container_port}/tcp"
        config: dict[str, Any] = {
            "Image": self.image,
            "Cmd": list(self.arguments),
            "Env": [f"{name}={value}" for name, value in self.env().items()],
            "Labels": labels_of(self.labels),
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": self._host_config(),
        }
        if self.entrypoint is None:
            config["Entrypoint"] = [self.argv[0]]
        if self.settings.user:
            config["User"] = self.settings.user
        if not self.on_host:
            config["ExposedPorts"] = {port: {}}
            config["HostConfig"]["PortBindings"] = {port: [{"HostIp": LOOPBACK, "HostPort": ""}]}
        return config

    def _host_config(self) -> dict[str, Any]:
        settings = self.settings
        host: dict[str, Any] = {
            **host_config(settings),
            "RestartPolicy": {"Name": "no"},
            "LogConfig": _LOG,
            "Mounts": [
                {"Type": "bind", "Source": v.source, "Target": v.target, "ReadOnly": v.read_only} for v in self.volumes
            ],
        }
        if self.gpus:
            host["DeviceRequests"] = [_gpu_request(settings, self.gpus)]
        return host

    def command(self) -> tuple[str, ...]:
        """Returns the equivalent ``docker run`` command, with credentials by name only."""
        settings = self.settings
        words = ["docker", "run", "--rm", "--network", settings.network]
        if not self.on_host:
            port = settings.container_port
            words += ["-p", f"{LOOPBACK}:{port}:{port}"]
        words += ["--init"] if settings.init else []
        words += self._gpu_words()
        words += run_options(settings)
        words += [w for volume in self.volumes for w in ("-v", volume.text)]
        words += [w for name, value in self._shown_env().items() for w in ("-e", _variable(name, value))]
        words += ["--no-healthcheck"]
        words += ["--entrypoint", self.argv[0]] if self.entrypoint is None else []
        return (*words, self.image, *self.arguments)

    def _gpu_words(self) -> list[str]:
        if not self.gpus:
            return []
        if self.settings.gpu_driver == "cdi":
            return [w for gpu in self.gpus for w in ("--device", _cdi(gpu))]
        return ["--gpus", f'"device={",".join(gpu.uuid for gpu in self.gpus)}"']

    def _shown_env(self) -> dict[str, str | None]:
        """Returns the variables to show, without labels; None stands for a value from the shell's environment."""
        inherited = set(self._passed())
        internal = {*self.labels.env(), *(() if self.gpus else NO_GPUS)}
        return {
            name: None if name in inherited and name not in self.plan.env else value
            for name, value in self.env().items()
            if name not in internal
        }


def _variable(name: str, value: str | None) -> str:
    hidden = value is None or looks_secret(name) or has_secret_form(value)
    return name if hidden else f"{name}={value}"


def _cdi(gpu: Gpu) -> str:
    return f"nvidia.com/gpu={gpu.uuid}"


def _gpu_request(settings: DockerSettings, gpus: Sequence[Gpu]) -> dict[str, Any]:
    if settings.gpu_driver == "cdi":
        return {"Driver": "cdi", "DeviceIDs": [_cdi(gpu) for gpu in gpus]}
    return {"Driver": "nvidia", "DeviceIDs": [gpu.uuid for gpu in gpus], "Capabilities": [["gpu"]]}


def chosen_gpus(found: Sequence[Gpu], ids: Sequence[str] | None) -> list[Gpu]:
    """Selects the GPUs to use.

    Args:
        found: The GPUs of this machine.
        ids: Indices or uuids to select, in order; None selects all.

    Raises:
        TrialFailedError: With ``gpu_unavailable`` if one of ``ids`` is not among ``found``.
    """
    if ids is None:
        return list(found)
    if not found:  # the driver cannot be queried from here; the engine may know these GPUs
        return [Gpu(index=index, uuid=name) for index, name in enumerate(dict.fromkeys(ids))]
    by_name = {**{str(g.index): g for g in found}, **{g.uuid: g for g in found}}
    absent = [name for name in ids if name not in by_name]
    if absent:
        message = f"deploy.gpu_ids lists {absent[0]}, but this machine has {', '.join(str(g.index) for g in found)}"
        remedy = "correct deploy.gpu_ids (nvidia-smi -L lists indices and uuids)"
        raise TrialFailedError.because(FailureCause.GPU_UNAVAILABLE, message, remedy=remedy)
    chosen = {by_name[name].uuid: by_name[name] for name in ids}
    return list(chosen.values())
