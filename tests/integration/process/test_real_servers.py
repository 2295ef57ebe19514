"""Studies on real processes: each trial measures its own server and reads only its own files."""

import json
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.net.info import get_json
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.store.paths import trial_folder
from autotuner.study.failure import FailureCause
from autotuner.study.measurement import Measurement
from autotuner.study.trial import TrialState
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.relaxed_settings import CALM_LIMITS
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.study_session import run_session

pytestmark = pytest.mark.anyio


def process_deployer() -> ProcessDeployer:
    return ProcessDeployer(ProcessSettings(ports=(23900, 23999), stop_grace=2.0))


def servers(study: str) -> list[int]:
    """Running processes with the study's label."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AUTOTUNER_STUDY") == study:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def test_parallel_trials_measure_their_own_servers(loop: Any, store: Store) -> None:
    """Compares the process id and slots that each server reports with those of its trial."""
    reports: dict[int, dict[str, Any]] = {}

    async def script(endpoint: Endpoint, window: Window) -> Measurement:
        report = await get_json(endpoint.url + "/props", timeout_s=30)
        assert report is not None
        reports[window.labels.trial] = report
        if window.labels.trial:
            with anyio.fail_after(60):
                while len(reports) < 4:  # noqa: ASYNC110 - all three run at the same time
                    await anyio.sleep(0.01)
        return scripted_measurement(window, rate=float(report["total_slots"]))

    prepared = loop.prepared(loop.spec("own-servers", parallel=3), deployer=process_deployer(), script=script)
    outcome = await run_session(prepared, store, source="t")
    assert len(outcome.trials) == 4
    assert len({t.identity.id for t in outcome.trials if t.identity}) == 4
    for trial in outcome.trials:
        slots = trial.configuration.values.get("parallel", 4)
        assert trial.state is TrialState.DONE
        assert trial.identity is not None
        assert reports[trial.number]["pid"] == int(trial.identity.id)
        assert reports[trial.number]["total_slots"] == slots == trial.resolved["parallel"]
        assert trial.verdict is not None
        assert trial.verdict.objectives == (pytest.approx(float(slots)),)
    assert servers("own-servers") == []


async def test_cancellation_ends_all_servers(loop: Any, store: Store) -> None:
    live: list[int] = []
    all_live = anyio.Event()

    async def script(_: Endpoint, window: Window) -> Measurement:
        if window.labels.trial == 0:
            return scripted_measurement(window)
        live.append(window.labels.trial)
        if len(live) == 2:
            all_live.set()
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    prepared = loop.prepared(loop.spec("ended-servers", parallel=2), deployer=process_deployer(), script=script)
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await run_session(prepared, store, source="t")

        tasks.start_soon(run)
        with anyio.fail_after(60):
            await all_live.wait()
        assert len(servers("ended-servers")) == 2
        tasks.cancel_scope.cancel()
    assert servers("ended-servers") == []
    assert store.leases.all() == []
    assert [t.state for t in store.trials.all("ended-servers")] == ["done", "void", "void"]


def native(loop: Any, **args: Any) -> Prepared:
    """A study of one trial with the native load generator; ``args`` are flags of the fake server."""
    spec = loop.spec("stale").model_copy(update={"parameters": ()})
    workload = spec.workload.model_copy(update={"warmup_s": 0.1, "duration_s": 60.0, "requests": 8})
    engine = spec.engine.model_copy(update={"args": args})
    prepared: Prepared = loop.prepared(
        spec.model_copy(update={"workload": workload, "engine": engine}), deployer=process_deployer()
    )
    return Prepared(
        **{**prepared.__dict__, "benchmark": NativeBenchmark(NativeSettings(limits=Limits.model_validate(CALM_LIMITS)))}
    )


def stale_files() -> Path:
    """Writes what an earlier study of the same name left in the folder of trial 0: a crash, and implausible results."""
    folder = trial_folder("stale", 0)
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("fake_server: out_of_memory\n")
    for attempt in range(2):
        (folder / f"records-0-0-{attempt}.parquet").write_bytes(b"stale")
    (folder / "result.json").write_text(json.dumps({"output_throughput": 1e9}))
    return folder


async def test_stale_records_are_replaced(loop: Any, store: Store) -> None:
    folder = stale_files()
    outcome = await run_session(native(loop), store, source="t")
    (trial,) = outcome.trials
    assert trial.state is TrialState.DONE, trial.failure
    (measured,) = trial.measurements
    assert measured.records is not None
    assert len(read_records(folder / measured.records)) >= measured.requests > 0
    assert "out_of_memory" not in (folder / "server.log").read_text()


async def test_crash_has_no_results_and_ignores_a_stale_log(loop: Any, store: Store) -> None:
    stale_files()
    outcome = await run_session(native(loop, **{"exit-requests": 3, "exit-code": 9}), store, source="t")
    assert [t.state for t in outcome.trials] == [TrialState.VOID, TrialState.FAILED], "the default is retried once"
    for trial in outcome.trials:
        assert (trial.measurements, trial.verdict) == ((), None)
        assert trial.failure is not None
        assert (trial.failure.cause, trial.failure.exit_code) == (FailureCause.CRASH_UNDER_LOAD, 9)
