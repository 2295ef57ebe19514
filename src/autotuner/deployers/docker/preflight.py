"""Preflight checks for the Docker deployer. Read-only; each check carries a remedy."""

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import anyio
from aiodocker.exceptions import DockerError

from autotuner.deployers.docker import capabilities, failures, model_mounts
from autotuner.deployers.docker.client import Engine
from autotuner.deployers.docker.container_spec import ContainerSpec
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, Labels, LaunchPlan

_MIN_API = (1, 40)
"""The first version with device requests (Docker 19.03)."""
_CDI_API = (1, 44)
_LOW_SPACE_BYTES = 30e9
_MIN_SPACE_BYTES = 1e9
"""Images of inference servers take 10 to 30 GB."""
_HELP_S = 120.0
_HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-runtime")


def unreachable(failure: Failure) -> Check:
    """Returns the only check that is possible without a Docker engine, or without the GPUs of ``gpu_ids``."""
    name = "gpus" if failure.cause is FailureCause.GPU_UNAVAILABLE else "docker"
    return Check.fail(name, failure.message, remedy=failure.remedy)


async def checks(
    engine: Engine, plans: Sequence[LaunchPlan], settings: DockerSettings, gpus: Sequence[Gpu]
) -> list[Check]:
    """Runs all checks.

    Args:
        engine: A connection to the engine.
        plans: The launch plans of the study.
        settings: The deployer's settings.
        gpus: The GPUs to use.

    Raises:
        TrialFailedError: With ``deployer_lost`` if the engine does not answer.
    """
    version = await engine.version()
    info = await engine.info()
    found = [_engine(version)]
    names = list(dict.fromkeys(settings.image_name(plan.image) for plan in plans))
    images = {name: await engine.image(name) for name in names if name}
    present = {name: image is not None for name, image in images.items()}
    found += [_image(name, settings, here=bool(name and present[name])) for name in names]
    found += [_disk(info, missing=not all(present.values())), _shm(info, settings)]
    found += await capabilities.checks(engine, info, settings)
    found += _gpus(version, info, plans, settings, gpus)
    found += [c for plan in plans for c in await anyio.to_thread.run_sync(_launch_plan, plan, settings)]
    users = {name: str((image.get("Config") or {}).get("User") or "") for name, image in images.items() if image}
    mapped = any("userns" in str(o) or "rootless" in str(o) for o in info.get("SecurityOptions") or ())
    found += await anyio.to_thread.run_sync(lambda: capabilities.hub_cache(plans, settings, users, mapped=mapped))
    if settings.check_flags:
        found += [await _flags(engine, plan, settings) for plan in plans if plan.help]
    return list(dict.fromkeys(found))


def _api(version: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(version.get("ApiVersion", "0")))[:2])


def _engine(version: Mapping[str, Any]) -> Check:
    detail = f"engine {version.get('Version')}, API {version.get('ApiVersion')}"
    if _api(version) >= _MIN_API:
        return Check.ok("docker", detail)
    return Check.fail(
        "docker", detail, remedy=f"update Docker: API {'.'.join(map(str, _MIN_API))} or newer is required"
    )


def _image(name: str | None, settings: DockerSettings, *, here: bool) -> Check:
    if name is None:
        return Check.fail("image", "the engine has no default image", remedy="set deploy.image")
    if here and settings.pull != "always":
        return Check.ok("image", f"{name} is present")
    if settings.pull == "never":
        return Check.fail("image", f"{name} is not present", remedy=f"docker pull {name}, or set deploy.pull: missing")
    return Check.ok("image", f"{name} will be pulled by the first trial")


def _disk(info: Mapping[str, Any], *, missing: bool) -> Check:
    folder = str(info.get("DockerRootDir", ""))
    driver = info.get("Driver")
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return Check.ok("disk", f"{driver}; {folder} is not visible from here")
    detail = f"{driver}, {free / 1e9:.0f} GB free in {folder}"
    remedy = "free disk space: docker system df, docker image prune"
    if free < _MIN_SPACE_BYTES:
        return Check.fail("disk", detail, remedy=remedy)
    if missing and free < _LOW_SPACE_BYTES:
        return Check.warn("disk", detail, remedy=remedy)
    return Check.ok("disk", detail)


def _shm(info: Mapping[str, Any], settings: DockerSettings) -> Check:
    if settings.ipc == "host":
        return Check.ok("shared memory", "shared with this machine (ipc: host)")
    detail = f"{settings.shm_size / 2**30:g} GiB"
    if settings.shm_size > int(info.get("MemTotal", 0)):
        return Check.warn("shared memory", f"{detail} exceeds this machine's memory", remedy="lower deploy.shm_size")
    return Check.ok("shared memory", detail)


def _gpus(
    version: Mapping[str, Any],
    info: Mapping[str, Any],
    plans: Sequence[LaunchPlan],
    settings: DockerSettings,
    gpus: Sequence[Gpu],
) -> list[Check]:
    needed = max((plan.gpus for plan in plans), default=0)
    if not needed:
        return []
    have = f"{needed} needed, {len(gpus)} usable"
    if len(gpus) < needed:
        return [Check.fail("gpus", have, remedy="correct deploy.gpu_ids, or install the NVIDIA driver")]
    if settings.gpu_driver == "cdi":
        return [_cdi(version, info, have)]
    known = "nvidia" in info.get("Runtimes", {}) or any(shutil.which(hook) for hook in _HOOKS)
    remedy = "install the NVIDIA Container Toolkit if launches fail with gpu_unavailable"
    return [
        Check.ok("gpus", have) if known else Check.warn("gpus", f"{have}; no NVIDIA runtime hook found", remedy=remedy)
    ]


def _cdi(version: Mapping[str, Any], info: Mapping[str, Any], have: str) -> Check:
    if _api(version) < _CDI_API:
        detail = f"engine {version.get('Version')} does not support CDI"
        return Check.fail("gpus", detail, remedy="update Docker, or set deploy.gpu_driver: nvidia")
    if not info.get("CDISpecDirs"):
        return Check.fail("gpus", "CDI is disabled in the engine", remedy="enable the feature cdi in daemon.json")
    return Check.ok("gpus", f"{have}, via CDI")


def _launch_plan(plan: LaunchPlan, settings: DockerSettings) -> list[Check]:
    found = []
    try:
        mounted = model_mounts.mounts(plan.needs_files, settings)
        found += [Check.ok("model", name) for name in plan.needs_files]
        found += [Check.ok("model links", f"{len(mounted)} mounts")] if len(mounted) > len(plan.needs_files) else []
    except model_mounts.ModelFilesError as error:
        found.append(Check.fail("model", error.why, remedy=error.remedy))
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        if name in plan.env:
            why = f"{name} in engine.env would hide the GPUs that a trial leases"
            found.append(Check.fail("environment", why, remedy="remove it; list the GPUs to use in deploy.gpu_ids"))
    return found


async def _flags(engine: Engine, plan: LaunchPlan, settings: DockerSettings) -> Check:
    """Compares the plan's flags with the help output of the image's server.

    The engine removes the container when it ends (``AutoRemove``), so that nothing is left even if this process is
    killed.
    """
    name = settings.image_name(plan.image) or ""
    if await engine.image(name) is None:
        return Check.ok("flags", f"not compared: {name} is not present yet")
    labels = Labels(study="preflight", trial=0, owner="preflight")
    bare = plan.model_copy(update={"gpus": 0, "hub_models": (), "needs_files": ()})
    launch = ContainerSpec(
        plan=bare,
        settings=settings,
        image=name,
        argv=plan.help,
        name=f"autotuner-help-{uuid4().hex[:8]}",
        labels=labels,
    )
    config = launch.config()
    config["HostConfig"] |= {"AutoRemove": True, "NetworkMode": "none", "PortBindings": {}}
    try:
        text = await _run_help(engine, config, launch.name)
    except (DockerError, TrialFailedError, TimeoutError) as error:
        return Check.warn("flags", f"{' '.join(plan.help)} failed: {error}", remedy="compare the flags manually")
    unknown = [flag.name for flag in plan.flags if not re.search(rf"{re.escape(_flag_name(flag.name))}(?![\w-])", text)]
    if not unknown:
        return Check.ok("flags", f"all {len(plan.flags)} flags are in the help output of {name}")
    return Check.warn(
        "flags", f"not in the help output of {name}: {', '.join(unknown)}", remedy="correct the flag or the image tag"
    )


def _flag_name(flag: str) -> str:
    return flag.partition("=")[0]


async def _run_help(engine: Engine, config: dict[str, Any], name: str) -> str:
    text: list[bytes] = []
    try:
        with failures.translated(), anyio.fail_after(_HELP_S):
            container = await engine.client.containers.create(config, name=name)
            async with container.attach(stdout=True, stderr=True, logs=True) as stream:
                await container.start()
                while message := await stream.read_out():
                    text.append(message.data)
    finally:
        with anyio.CancelScope(shield=True), suppress(TrialFailedError):
            await engine.remove(name, 0.0)
    return b"".join(text).decode(errors="replace")
