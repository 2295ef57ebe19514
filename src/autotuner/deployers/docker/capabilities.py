"""Preflight checks that compare the settings with the capabilities of the Docker engine."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from autotuner.deployers.docker import resource_limits
from autotuner.deployers.docker.client import Engine
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.manifests.volume import parse_volume
from autotuner.study.check import Check
from autotuner.study.launch import LaunchPlan

_BUILT_IN = frozenset({"bridge", "host", "default"})
_WRITE_AND_SEARCH = 0o3


async def checks(engine: Engine, info: Mapping[str, Any], settings: DockerSettings) -> list[Check]:
    """Checks network, runtime, volumes, CPUs and ulimits.

    Returns:
        The failed checks, and a passed one for a network that was looked up.
    """
    found = await _network(engine, settings)
    if settings.runtime and settings.runtime not in info.get("Runtimes", {}):
        remedy = f"correct deploy.runtime; the engine has: {', '.join(sorted(info.get('Runtimes', {})))}"
        found.append(Check.fail("runtime", f"the engine has no runtime {settings.runtime}", remedy=remedy))
    found += await run_sync(_volumes, settings)
    cpus = int(info.get("NCPU") or 0)
    if settings.cpus and cpus and settings.cpus > cpus:
        detail = f"{settings.cpus:g} requested; the engine has {cpus}"
        found.append(Check.fail("cpus", detail, remedy="lower deploy.cpus"))
    remedy = "lower deploy.ulimits, or set them to {}"
    found += [
        Check.fail("ulimits", text, remedy=remedy) for text in await run_sync(_limits, engine.socket, info, settings)
    ]
    return found


def _limits(socket: str | None, info: Mapping[str, Any], settings: DockerSettings) -> list[str]:
    return resource_limits.refused(socket, info, settings)


async def _network(engine: Engine, settings: DockerSettings) -> list[Check]:
    if settings.network in _BUILT_IN:
        return []
    if await engine.network(settings.network) is None:
        remedy = f"correct deploy.network, or create it: docker network create {settings.network}"
        return [Check.fail("network", f"the engine has no network {settings.network}", remedy=remedy)]
    return [Check.ok("network", settings.network)]


def _volumes(settings: DockerSettings) -> list[Check]:
    volumes = [parse_volume(text) for text in settings.volumes]
    missing = [volume.source for volume in volumes if not os.path.lexists(volume.source)]
    return [
        Check.fail("volumes", f"{source} does not exist", remedy="correct deploy.volumes, or create the path")
        for source in missing
    ]


def hub_cache(
    plans: Sequence[LaunchPlan], settings: DockerSettings, users: Mapping[str, str], *, mapped: bool
) -> list[Check]:
    """Checks that the container's user can write to the Hub cache.

    Args:
        plans: The launch plans; without one that loads a Hub model there is nothing to check.
        settings: The deployer's settings.
        users: The user that each image sets, by image name.
        mapped: Whether the engine remaps user ids, which makes the folder's mode bits meaningless.
    """
    if not any(plan.hub_models for plan in plans):
        return []
    folder = settings.cache
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = "set deploy.hub_cache to a writable folder"
        return [Check.fail("hub cache", f"{folder} is not writable", remedy=remedy)]
    for plan in plans:
        user = settings.user or users.get(settings.image_name(plan.image) or "", "")
        ids = _ids(user)
        if plan.hub_models and ids and not mapped and not _writable(folder, *ids):
            detail = f"{folder} is not writable for the container's user ({user})"
            remedy = f"chown -R {user} {folder}, or set deploy.user to its owner"
            return [Check.fail("hub cache", detail, remedy=remedy)]
    return [Check.ok("hub cache", str(folder))]


def _ids(user: str) -> tuple[int, int | None] | None:
    """Parses ``1000`` or ``1000:1000``; None for root, and for names, which only the image can resolve."""
    uid, _, gid = user.partition(":")
    if not uid.isdigit() or int(uid) == 0:
        return None
    return int(uid), int(gid) if gid.isdigit() else None


def _writable(folder: Path, uid: int, gid: int | None) -> bool:
    """Whether this user may create files in the folder."""
    if not folder.exists():  # this process will create and own it
        return uid == os.geteuid()
    status = folder.stat()
    shift = 6 if status.st_uid == uid else 3 if gid is not None and status.st_gid == gid else 0
    return (status.st_mode >> shift) & _WRITE_AND_SEARCH == _WRITE_AND_SEARCH
