"""Process of the stand-in, started as ``python -m support.ome_standin SETTINGS``.

It installs the stand-in, serves until stdin ends, and removes it.

Each line of stdin is a JSON object of faults to set, answered by a line with all current faults. The first line of
output reports that the installation is complete. ``python -m support.ome_standin SETTINGS remove`` only removes it.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.ome_standin.agent import Agent
from support.ome_standin.benchmark import BenchmarkController
from support.ome_standin.controller import Controller
from support.ome_standin.faults import Faults
from support.ome_standin.install import create_samples, install, remove
from support.ome_standin.kube import Kube
from support.ome_standin.real import Manager
from support.ome_standin.settings import Settings
from support.ome_standin.webhooks import Webhooks
from support.ome_standin.world import World


@dataclass(frozen=True)
class Parts:
    """Running parts whose faults can be set."""

    faults: Faults
    webhooks: Webhooks
    agent: Agent


def send(message: object) -> None:
    """Sends one line to the parent process."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def serve(settings: Settings) -> None:
    """Installs the stand-in, serves until stdin ends, and removes it."""
    kube = Kube(Path(settings.kubeconfig))
    faults = Faults()
    try:
        await install(kube, settings)
        with tempfile.TemporaryDirectory(prefix="ome-") as folder:
            await _serve(kube, faults, settings, Path(folder))
    finally:
        await remove(kube)
        await kube.close()


async def _serve(kube: Kube, faults: Faults, settings: Settings, folder: Path) -> None:
    world = World(kube, faults)
    webhooks = Webhooks(world, folder, settings.listen)
    agent = Agent(world, settings.manager_image, settings.engine_image, alone=not settings.real)
    parts = Parts(faults, webhooks, agent)
    manager = Manager(kube, settings, folder) if settings.real else None
    runs = [*(informer.run() for informer in world.informers.values()), agent.run()]
    if manager is None:
        controller = Controller(world)
        benchmarks = BenchmarkController(world, settings.benchmark_pause_s)
        runs += [controller.worker.run(), benchmarks.worker.run()]
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        await world.synced()
        if manager is not None:
            await manager.start()
        else:
            await webhooks.start()
            await webhooks.install()
        await create_samples(kube, settings)
        send({"ready": True})
        commands = asyncio.create_task(_read_commands(parts))
        done, _ = await asyncio.wait({commands, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await webhooks.stop()
        if manager is not None:
            await manager.stop()


async def _read_commands(parts: Parts) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        faults = json.loads(line)
        try:
            parts.faults.set(faults)
        except ValueError as error:
            send({"error": str(error)})
            continue
        if "webhook" in faults:
            await parts.webhooks.apply(parts.faults.webhook)
        if "agent" in faults:
            await parts.agent.apply(parts.faults.agent)
        send(parts.faults.current())


async def _remove(settings: Settings) -> None:
    kube = Kube(Path(settings.kubeconfig))
    await remove(kube)
    await kube.close()


if __name__ == "__main__":
    given = Settings(**json.loads(sys.argv[1]))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_remove(given) if sys.argv[2:] == ["remove"] else serve(given))
