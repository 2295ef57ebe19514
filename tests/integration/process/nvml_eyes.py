"""Process that queries GPUs through the NVML library it finds.

It reads one JSON command per line from stdin, and writes one JSON result per line to stdout.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio

from autotuner.deployers.local import procfs
from autotuner.deployers.local.nvml import Nvml
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.errors import UsageError
from autotuner.plugins.deployer import DeployContext
from autotuner.study.launch import LaunchPlan
from autotuner.testing.deployer_kit import Recorder

NVML = Nvml()


def _deployer(arguments: dict[str, Any]) -> ProcessDeployer:
    return ProcessDeployer(ProcessSettings.model_validate(arguments.get("settings", {})))


def _plan(arguments: dict[str, Any]) -> LaunchPlan:
    command = (sys.executable, "-m", "autotuner.testing.fake_server")
    return LaunchPlan(command=command, model="m", gpus=arguments.get("gpus", 0), env=arguments.get("env", {}))


async def _gpus(_: dict[str, Any]) -> Any:
    return [gpu.model_dump() for gpu in await NVML.gpus()]


async def _samples(_: dict[str, Any]) -> Any:
    sampled.extend(await NVML.gpus() if not sampled else ())
    return [sample.model_dump() for sample in await NVML.samples(sampled)]


async def _describe(_: dict[str, Any]) -> Any:
    return NVML.describe().model_dump(mode="json")


async def _hardware(arguments: dict[str, Any]) -> Any:
    try:
        return (await _deployer(arguments).hardware()).model_dump()
    except UsageError as error:
        return [str(problem) for problem in error.problems]


async def _preflight(arguments: dict[str, Any]) -> Any:
    checks = await _deployer(arguments).preflight([_plan(arguments)])
    return [check.model_dump(mode="json") for check in checks if check.name == "gpus"]


async def _launch(arguments: dict[str, Any]) -> Any:
    """Returns the CUDA variables of a launched server that leases the first ``lease`` GPUs of the deployer."""
    deployer = _deployer(arguments)
    leased = tuple(await deployer.gpus())[: arguments["lease"]]
    with tempfile.TemporaryDirectory() as folder:
        context = Recorder(Path(folder)).context
        with_gpus = DeployContext(**{**context.__dict__, "gpus": leased})
        async with deployer.deploy(_plan(arguments), with_gpus) as endpoint:
            env = procfs.environ(min(endpoint.pids()))
    return {name: value for name, value in env.items() if name.startswith("CUDA")}


async def _start(_: dict[str, Any]) -> Any:
    """Starts two children without labels; the first has its own session, as every server has."""
    started.extend(_child(own_session) for own_session in (True, False))
    return [child.pid for child in started]


def _child(own_session: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["env", "-i", "sleep", "60"], start_new_session=own_session)


sampled: list[Any] = []
started: list[subprocess.Popen[bytes]] = []
COMMANDS: dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, Any]]] = {
    "gpus": _gpus, "samples": _samples, "describe": _describe, "hardware": _hardware, "preflight": _preflight,
    "launch": _launch, "start": _start,
}  # fmt: skip

for line in sys.stdin:
    command = json.loads(line)
    sys.stdout.write(json.dumps(anyio.run(COMMANDS[command.pop("do")], command)) + "\n")
    sys.stdout.flush()

for child in started:
    child.kill()
    child.wait()
