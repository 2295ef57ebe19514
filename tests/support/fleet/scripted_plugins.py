"""Plugins for studies that workers run in processes of their own: no server is launched, and windows take as long as
the study says. What runs when is appended to a file, and a study can freeze at a chosen point.

In processes of workers it also notes what is stored; see :mod:`support.fleet.scripted_studies`.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import anyio
from pydantic import BaseModel, ConfigDict

from autotuner.plugins.benchmark import Benchmark, Window
from autotuner.plugins.deployer import DeployContext, Endpoint
from autotuner.store.trials import TrialTable
from autotuner.study.check import Check
from autotuner.study.launch import LaunchPlan
from autotuner.study.measurement import Measurement
from autotuner.study.trial import Trial
from autotuner.study.workload import Workload
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.testing.fake_engine import FakeEngine
from support.fleet.scripted_studies import FOLDER, HOST


class Settings(BaseModel):
    """Settings of the benchmark."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_s: float = 0.05


def note(what: str, study: str, trial: int) -> None:
    """Appends one line to the journal of a study."""
    entry = {
        "what": what,
        "trial": trial,
        "pid": os.getpid(),
        "host": os.environ[HOST],
        "at": time.monotonic(),
    }
    with (Path(os.environ[FOLDER]) / f"{study}.jsonl").open("a") as journal:
        journal.write(json.dumps(entry) + "\n")


def freeze_at(point: str, study: str, trial: int) -> None:
    """Stops for good, without another heartbeat, once per study if this is the chosen point: there its machine is to be
    killed, which cannot be done from inside of it."""
    order = Path(os.environ[FOLDER]) / f"{study}.freeze"
    try:
        wanted, number = order.read_text().split()
    except FileNotFoundError:
        return
    if wanted == point and trial >= int(number):
        order.unlink()
        time.sleep(3600)


class ScriptedDeployer(FakeDeployer):
    """Launches nothing, and notes when it would."""

    kind: ClassVar[str] = "scripted"

    async def facts(self, plan: LaunchPlan) -> dict[str, str]:
        """The machine as a file describes it; nothing without one."""
        described = Path(os.environ[FOLDER]) / f"{os.environ.get(HOST)}.machine"
        return {"machine": described.read_text()} if described.exists() else {}

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        """See :class:`FakeDeployer`."""
        study = context.labels.study
        trial = int(context.labels.trial)
        note("launched", study, trial)
        freeze_at("launching", study, trial)
        try:
            async with super().deploy(plan, context) as endpoint:
                yield endpoint
        finally:
            note("released", study, trial)


class ScriptedWindows(Benchmark):
    """Measures nothing, and takes its time for it."""

    kind: ClassVar[str] = "scripted"
    Settings: ClassVar[type[BaseModel]] = Settings

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """A throughput that depends on the flag ``--parallel``."""
        study = window.labels.study
        trial = int(window.labels.trial)
        freeze_at("measuring", study, trial)
        await anyio.sleep(self.settings.window_s)  # type: ignore[attr-defined]
        flag = next((a.partition("=")[2] for a in endpoint.argv if a.startswith("--parallel=")), "2")
        return scripted_measurement(window, rate=100.0 + 10 * int(flag) + trial % 3)

    async def preflight(self, workload: Workload) -> list[Check]:
        """No checks."""
        return []


def _finish(finish: Any) -> Any:
    def finishing(table: TrialTable, trial: Trial, data: Mapping[str, object]) -> None:
        finish(table, trial, data)
        note("stored", trial.study, trial.number)
        freeze_at("stored", trial.study, trial.number)

    return finishing


class ScriptedEngine(FakeEngine):
    """The fake engine; loading it lets a study freeze between two trials."""

    kind: ClassVar[str] = "scripted"


if HOST in os.environ:  # a process of a worker; the test itself loads the engine to read a study
    TrialTable.finish = _finish(TrialTable.finish)  # type: ignore[method-assign]
