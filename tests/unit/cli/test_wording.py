"""Snapshot of what commands print, the only test that fixes the wording of tables and messages.

After a deliberate change, run ``.venv/bin/pytest tests/unit/cli/test_wording.py --snapshot-update`` and read the diff.
Help texts are compared with ``docs/reference/cli.md``.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.benchmarks.measure_url import BenchReport, slo_results
from autotuner.cli.bench.page import bench_text
from autotuner.cli.study_page import study_text
from autotuner.cli.texts import doctor_text, plan_text
from autotuner.cli.trial_page import trial_text
from autotuner.diagnosis import Diagnosis
from autotuner.report.result import StudyResult, study_result
from autotuner.study.check import Check
from autotuner.study.configuration import Configuration
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.objective import SLO
from autotuner.study.workload import RequestRate
from autotuner.testing.samples import Sample, SampleKind, sample_study
from autotuner.testing.study_maker import spread
from autotuner.tuning.planning.plan import Plan, PlannedLaunch

Call = Callable[..., Any]
CHECKS = (
    Check.ok("ports", "1000 free in 24000-24999"),
    Check.warn("gpus", "none found", remedy="install the driver"),
    Check.fail("model", "no such file: /m.gguf", remedy="correct model.path"),
)


def result_of(kind: str) -> StudyResult:
    sample = sample_study(SampleKind(kind))
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


@pytest.mark.parametrize("kind", ["winner", "failures", "refuted", "simulated", "empty"])
def test_show(kind: str, snapshot: SnapshotAssertion) -> None:
    assert study_text(result_of(kind), width=110) == snapshot


@pytest.mark.parametrize(("kind", "number"), [("winner", 12), ("winner", 15), ("failures", 1), ("failures", 6)])
def test_show_one_trial(kind: str, number: int, snapshot: SnapshotAssertion) -> None:
    result = result_of(kind)
    assert trial_text(result, result.trials[number], ["loading", "listening"], width=110) == snapshot


def plan(**changes: Any) -> Plan:
    argv = ("llama-server", "--model", "m.gguf", "--parallel", "4")
    launch = PlannedLaunch(
        configuration=Configuration(values={"parallel": 4}), argv=argv, env={"OMP": "1", "HF_TOKEN": "***"}
    )
    made = Plan(
        study="chat",
        engine="llama_cpp",
        deploy="process",
        space_size=72,
        launchable=60,
        others=59,
        trials=20,
        repeats=12,
        windows=2,
        estimated_s=2400,
        launches=(launch,),
        checks=CHECKS,
    )
    return made.model_copy(update=changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"space_size": None, "launchable": None, "others": None, "simulated": "vllm on H100x8", "windows": 1},
        {"others": 19, "repeats": 0},
        {"trials": 1, "repeats": 0, "launches": ()},
        {"longest_s": 7200},
        {"repeats": 48, "fewest_repeats": 8, "earliest_s": 900},
    ],
)
def test_plan(changes: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    assert plan_text(plan(**changes)) == snapshot


def test_doctor(snapshot: SnapshotAssertion) -> None:
    done = [
        doctor_text(Diagnosis(deploy="process", study=study, checks=CHECKS[:count]))
        for study, count in ((None, 3), ("chat", 2), (None, 1), ("chat", 1))
    ]
    assert "\n\n".join(done) == snapshot


def test_bench(snapshot: SnapshotAssertion) -> None:
    window = Measurement(
        scenario="D(8,8)",
        level=RequestRate(rate=4.0),
        window_s=10,
        requests=200,
        failed=0,
        arrived=200,
        distributions={"ttft": spread(0.1, 200), "e2e_latency": spread(0.4, 30)},
        scalars={"output_throughput": 1234.5, "request_throughput": 20.0, "success_rate": 0.995},
    )
    windows = [
        window,
        window.model_copy(update={"steady": False, "thin": ("3 finished requests, at least 8 are needed",)}),
        window.model_copy(update={"requests": 0, "distributions": {}, "scalars": {}, "answer_s": 30.0}),
        window.model_copy(update={"self_check": SelfCheck(client_limited=True, reasons=("loop lag p99 31 ms",))}),
        window.model_copy(update={"failed": 3, "errors": {"http_500": 3}, "error_messages": {"http_500": "no room"}}),
    ]
    slos = slo_results(windows, [SLO(metric="ttft", statistic="p99", threshold=0.2)])
    assert bench_text(BenchReport(url="", measurements=tuple(windows), slos=slos)) == snapshot


def test_messages(
    call: Call, store_study: Callable[..., Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Any
) -> None:
    """Messages of commands that print a line or two."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    commands: list[tuple[str, ...]] = [("list",), ("list", "--match", "x*"), ("reap",), ("init", "s.yaml")]
    done = [(words, call(*words)) for words in commands]
    store_study("winner")
    commands = [
        ("stop", "chat-8b"), ("watch", "chat-8b"), ("list",), ("best", "chat-8b"), ("delete", "chat-8b"),
        ("delete", "chat-8b", "--yes"), ("logs", "none"), ("show", "x", "--color"),
    ]  # fmt: skip
    done += [(words, call(*words)) for words in commands]
    # Typer names the program after how the tests were started.
    started_as = "python -m pytest."
    text = "\n".join(f"$ autotuner {' '.join(words)} -> {s.code}\n{s.out}{s.err}" for words, s in done)
    assert re.sub(r"\d+ d\b", "N d", text.replace(started_as, "")) == snapshot
