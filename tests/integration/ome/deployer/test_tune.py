"""Whole studies on OME: an unchanged legacy task file, two trials at a time on four GPUs."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.errors import AutotunerError
from autotuner.events.follow import read
from autotuner.events.types import PhaseEntered
from autotuner.store import Store
from autotuner.study.failure import FailureCause
from autotuner.study.spec import PluginSpec
from autotuner.study.trial import TrialState
from autotuner.testing.relaxed_settings import CALM_BENCHMARK
from support.ome_lab import written
from support.ome_standin.lab import eventually
from support.ome_standin.sample_objects import RUNTIME

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("benchmark", ["native", pytest.param("ome_job", marks=pytest.mark.campaign)])
def test_legacy_task(at: Any, task: Path, benchmark: str, request: pytest.FixtureRequest) -> None:
    """A memory fraction of 0.99 leaves no memory for activations. Concurrent trials share no GPU, pod or results."""
    volume = None
    requests = 50
    spec = autotuner.read_study(task, mode="ome", benchmark=benchmark).spec
    if benchmark == "ome_job":
        at.needs_names()
        volume = request.getfixturevalue("results")
    else:
        requests = 200  # long enough to be steady on a busy machine
        workload = spec.workload.replaced(warmup_s=0.1, requests=requests)
        spec = spec.replaced(benchmark=PluginSpec.model_validate(CALM_BENCHMARK), workload=workload)
    search = spec.search.model_copy(update={"parallel": 2})
    confirm = spec.confirm.model_copy(update={"repeats": 0})
    result = autotuner.tune(spec.model_copy(update={"search": search, "confirm": confirm}))
    states = [t.state for t in result.trials]
    assert states == [TrialState.DONE] * 3 + [TrialState.FAILED], [t.failure for t in result.trials]
    last = result.trials[3].failure
    assert last is not None
    assert last.cause is FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    assert "out of memory" in last.log_tail.lower()
    for trial, fraction in zip(result.trials, (None, "0.8", "0.85"), strict=False):
        assert trial.identity is not None
        assert trial.identity.kind == "pod"
        assert trial.gpus == 1
        assert [(m.requests, m.failed) for m in trial.measurements] == [(requests, 0), (requests, 0)]
        fractions = [b for a, b in pairwise(trial.argv) if a in {"--mem-fraction-static", "--mem-frac"}]
        assert fractions == [fraction or "0.9"], "the default is the runtime's"
        assert [b for a, b in pairwise(trial.argv) if a == "--model-path"] == [at.ome.settings.model_path]
    assert len({t.identity.id for t in result.trials if t.identity}) == 3
    assert result.winner is not None, [t.verdict for t in result.trials]
    text = autotuner.render_manifest(result, "inference-service").text
    assert f"name: {RUNTIME}" in text
    assert at.left() == []
    assert volume is None or written(volume) == []


@pytest.mark.campaign
@pytest.mark.parametrize(
    "phase",
    ["launching", "accepted", "scheduled", "loading", "ready", "warming", "measuring", "scoring", "releasing"],
)
def test_killed_run_resumes(at: Any, task: Path, phase: str) -> None:
    """SIGKILL in each phase: the same command removes the leftovers and finishes the study."""
    task.write_text(json.dumps({**json.loads(task.read_text()), "parameters": {"mem_frac": [0.8]}}))
    argv = [sys.executable, "-m", "autotuner", "run", str(task), "--mode", "ome", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=dict(os.environ)) as run:
        until_phase(phase)
        run.kill()
    if phase == "releasing":  # its removal has begun, and may be over before the next run begins
        eventually(lambda: not at.lab.all("InferenceService"))
    done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ), check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    found = autotuner.load_result("simple-tune")
    cut_off = [t for t in found.trials if t.state is TrialState.VOID]
    assert [t.failure for t in cut_off] == [None], "the trial during which the run was killed"
    assert {t.state for t in found.trials if t not in cut_off} == {TrialState.DONE}
    assert found.winner is not None
    # The run waits for pods; the cluster then removes the load generator's Job in its own time.
    eventually(lambda: at.left() == [], "no object is left")


def until_phase(phase: str) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with suppress(AutotunerError), Store.open() as store:  # the store does not exist at first
            if phase in [e.phase for e in read(store, "simple-tune") if isinstance(e, PhaseEntered)]:
                return
        time.sleep(0.1)
    pytest.fail(f"never entered {phase}")
