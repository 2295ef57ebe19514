"""User-visible wordings of the tuning loop: budgets, failures, faults, plans and resumed studies."""

from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.errors import StudyBusyError
from autotuner.study.configuration import DEFAULT
from autotuner.study.environment_facts import Fact, differences
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.objective import SLO
from autotuner.study.spec import SearchSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency, RequestRate
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.testing.samples import sample_spec
from autotuner.tuning.budget import Budget, SearchClock, trials_used_up
from autotuner.tuning.environment_watch import environment_changed
from autotuner.tuning.planning.plan import budget_checks, make_plan
from autotuner.tuning.planning.resume_decision import (
    Standing,
    other_environment_problem,
    other_file_note,
    other_file_problem,
    other_measurement_problem,
    rewritten_note,
)
from autotuner.tuning.planning.resuming.changed_settings import change_text
from autotuner.tuning.planning.window_checks import window_checks
from autotuner.tuning.proof import noise
from autotuner.tuning.retry_or_stop import CannotStartError, Faults, StudyFaultError
from autotuner.tuning.search_stage import NO_PARAMETERS
from autotuner.tuning.study_session import cut_off_notice
from autotuner.tuning.trials.no_answer_failure import unanswered
from autotuner.tuning.trials.server_end_cause import explain
from autotuner.tuning.trials.start_failures import start_failure


def text_of(failure: Failure) -> str:
    return f"{failure.cause.value}: {failure.message}; {failure.remedy}"


def trial(seconds: float, gpus: int = 0, **changes: Any) -> Trial:
    made = Trial(study="s", number=0, role=TrialRole.DEFAULT, configuration=DEFAULT, state=TrialState.DONE)
    return made.replaced(phases={"measuring": seconds}, gpus=gpus, **changes)


def used_up(spent_s: float, trials: list[Trial], **search: float) -> str:
    clock = SearchClock()
    clock.set(spent_s)
    return Budget(SearchSpec(**search), clock).used_up(trials)  # type: ignore[arg-type]


def test_budgets(snapshot: SnapshotAssertion) -> None:
    lines = [
        used_up(100, [], time_s=100),
        used_up(95, [trial(6)], time_s=100),
        used_up(0, [trial(7200, gpus=1)], gpu_hours=1),
        used_up(0, [trial(1200, gpus=2)], gpu_hours=1),
        trials_used_up(4),
        NO_PARAMETERS,
    ]
    spec = sample_spec()
    for search in ({"time_s": 1000.0}, {"time_s": 10.0}, {"gpu_hours": 100.0}):
        checks = budget_checks(spec.replaced(search=SearchSpec(**search)), 100, 8)  # type: ignore[arg-type]
        lines += [f"{c.name}: {c.detail}; {c.remedy}" for c in checks]
    assert "\n".join(line.removesuffix("; ") for line in lines) == snapshot


def test_windows(snapshot: SnapshotAssertion) -> None:
    p99 = SLO(metric="ttft", statistic="p99", threshold=1.0)
    spec = sample_spec(slos=(p99,))
    lines = []
    for changes in ({}, {"requests": 3}, {"levels": (RequestRate(rate=1.0),)}):
        checks = window_checks(spec.replaced(workload=spec.workload.replaced(**changes)))
        lines += [f"{c.status}: {c.detail}; {c.remedy}" for c in checks]
    assert "\n".join(line.removesuffix("; ") for line in lines) == snapshot


def test_failures(snapshot: SnapshotAssertion) -> None:
    engine = FakeEngine(FakeEngineSettings())
    ends = [(7, False), (7, True), (None, True), (0, True), (-9, True), (137, False), (127, False)]
    lines = [text_of(explain(engine, code, "last line", ready=ready)) for code, ready in ends]
    missing = "ModuleNotFoundError: No module named 'vllm'"
    lines.append(text_of(explain(engine, 1, missing, ready=False)))
    window = Measurement(scenario="D(4,4)", level=Concurrency(in_flight=1), window_s=2.0, requests=0, failed=0)
    refused = {"requests": 3, "failed": 3, "errors": {"http_400": 3}, "error_messages": {"http_400": "HTTP 400: no"}}
    lines.append(text_of(unanswered(window.replaced(**refused))))
    lines.append(text_of(unanswered(window.replaced(answer_s=31.4))))
    lines.append(text_of(unanswered(window.replaced(self_check=SelfCheck(foreign_cpu_cores=2.0)))))
    lines.append(text_of(environment_changed(["model has changed: it was a, and is b"])))
    assert "\n".join(line.removesuffix("; ") for line in lines) == snapshot


def test_start_failures(snapshot: SnapshotAssertion) -> None:
    logs = [
        (1, "ModuleNotFoundError: No module named 'vllm'"),
        (1, "importlib.metadata.PackageNotFoundError: No package metadata was found for vllm"),
        (1, "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"),
        (1, "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found"),
        (1, "ImportError: /v/_C.abi3.so: undefined symbol: _ZN3c10"),
        (1, "RuntimeError: CUDA driver version is insufficient for CUDA runtime version"),
        (1, "Failed to initialize NVML: Driver/library version mismatch"),
        (126, "./serve: line 2: ./bin: cannot execute binary file: Exec format error"),
        (126, "sh: 1: ./serve: Permission denied"),
        (127, "./serve: line 3: vllm: command not found"),
        (127, ""),
    ]
    failures = [start_failure(None, code, log, ready=False) for code, log in logs]
    assert "\n".join(text_of(failure) for failure in failures if failure is not None) == snapshot


def test_faults(snapshot: SnapshotAssertion) -> None:
    failure = Failure(cause=FailureCause.DEPLOYER_LOST, message="no answer", remedy="start it", log_tail="bye")
    tries = [trial(1, state=TrialState.FAILED, failure=failure)]
    faults = Faults(3)
    lines = [
        str(StudyFaultError(failure, 1)),
        str(StudyFaultError(failure, 3)),
        str(CannotStartError(tries)),
        str(CannotStartError(tries * 4)),
        faults.judge(tries[0].replaced(state=TrialState.VOID)),
        str(StudyBusyError.running("s", "follow it: autotuner watch s", by="process 7 on h")),
    ]
    assert "\n".join(line.removesuffix("; ") for line in lines) == snapshot


@pytest.mark.anyio
async def test_side_by_side(loop: Any, snapshot: SnapshotAssertion) -> None:
    lines = [noise.interference_text(0.4)]
    for repeats in (0, 2):
        plan = await make_plan(loop.prepared(loop.spec(parallel=2, repeats=repeats)))
        lines += [f"{c.detail}; {c.remedy}" for c in plan.checks if c.name == "search.parallel"]
    assert "\n".join(line.removesuffix("; ") for line in lines) == snapshot


def test_standings(snapshot: SnapshotAssertion) -> None:
    standings = [Standing(state="new"), Standing(state="resumes", stored=4), Standing(state="resumes", set_aside=2)]
    lines = [s.text for s in standings]
    lines += [rewritten_note("model"), other_file_note("s", "/a.yaml"), cut_off_notice(3)]
    changed = differences({"model": Fact(state="5 MB")}, {"model": Fact(state="7 MB")})
    problems = [
        other_file_problem("s", "/a.yaml"),
        other_environment_problem("s", changed),
        other_measurement_problem("s", [change_text("model.path", "a", None)]),
        other_measurement_problem("s", []),
    ]
    assert "\n".join([*lines, *map(str, problems)]) == snapshot
