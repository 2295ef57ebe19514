"""Objectives and SLOs that no trial could measure are rejected before a launch."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.deployers.external import ExternalDeployer, ExternalSettings
from autotuner.deployers.kubernetes.deployer import KubernetesDeployer
from autotuner.errors import UsageError
from autotuner.plugins.deployer import Deployer
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.spec import StudySpec
from autotuner.study.text.forms import parse_objective, parse_scenario, parse_slo
from autotuner.study.workload import Api, Concurrency, RequestRate, Workload
from autotuner.study_file.loader import parse_study
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.planning.unmeasurable_goals import idle_bounds, unmeasurable


def study(loop: Any, *texts: str, scenarios: tuple[str, ...] = ("D(10,10)",), rates: bool = False) -> StudySpec:
    """A study with these SLOs and objectives at concurrency 1 and, with ``rates``, at 4 requests/s."""
    levels = (Concurrency(in_flight=1), RequestRate(rate=4.0)) if rates else (Concurrency(in_flight=1),)
    bounds = [text for text in texts if "=" in text.split(" at ")[0]]
    goals = [text for text in texts if text not in bounds] or ["max output_throughput"]
    made: StudySpec = loop.spec().model_copy(
        update={
            "objectives": tuple(map(parse_objective, goals)),
            "slos": tuple(map(parse_slo, bounds)),
            "workload": Workload(scenarios=tuple(map(parse_scenario, scenarios)), levels=levels),
        }
    )
    return made


def wrong(spec: StudySpec, deployer: Deployer | None = None, gpus: int = 0) -> list[tuple[str, str | None]]:
    found = unmeasurable(spec, deployer or FakeDeployer(), gpus)
    assert all(p.why and p.remedy for p in found)
    return [(p.where, p.value) for p in found]


@pytest.mark.parametrize("metric", ["tpot", "itl", "itl_token"])
def test_time_between_tokens_of_answers_of_one_token(loop: Any, metric: str) -> None:
    text = f"min p99 {metric}"
    for short in ("D(64,1)", "U(8,64)/(1,1)", "N(64,8)/(1,0)"):
        assert wrong(study(loop, text, scenarios=(short,))) == [("objective", text)]
        both = study(loop, text, f"p99 {metric} <= 50ms", scenarios=("D(10,10)", short))
        assert wrong(both) == [("objective", text), ("slo", f"p99 {metric} <= 50ms")], "every scenario counts"
        assert wrong(study(loop, f"{text} for D(10,10)", scenarios=("D(10,10)", short))) == []
    for long in ("D(64,2)", "U(8,64)/(1,2)", "N(64,8)/(1,1)"):
        assert wrong(study(loop, text, scenarios=(long,))) == []
    assert wrong(study(loop, "min p99 ttft", scenarios=("D(64,1)",))) == []


@pytest.mark.parametrize("metric", ["ttft_scheduled", "e2e_latency_scheduled"])
def test_time_from_the_schedule_of_a_closed_loop(loop: Any, metric: str) -> None:
    text = f"min p50 {metric}"
    assert wrong(study(loop, text)) == [("objective", text)]
    assert wrong(study(loop, text, rates=True)) == [("objective", text)], "one of its two levels"
    assert wrong(study(loop, f"{text} at rate=4/s poisson", rates=True)) == []
    assert wrong(study(loop, f"p99 {metric} <= 1s")) == [("slo", f"p99 {metric} <= 1000ms")]
    assert wrong(study(loop, "goodput >= 1", f"{metric} <= 1s")) == [], "a bound on each request"


def test_goodput_without_bounds_on_requests(loop: Any) -> None:
    assert wrong(study(loop, "max goodput")) == [("objective", "max goodput")]
    assert wrong(study(loop, "max goodput", "p99 ttft <= 1s")) == [("objective", "max goodput")]
    assert wrong(study(loop, "goodput >= 2")) == [("slo", "goodput >= 2")]
    assert wrong(study(loop, "max goodput", "ttft <= 1s")) == []


def test_warning_about_bounds_on_requests_without_goodput(loop: Any) -> None:
    assert [p.value for p in idle_bounds(study(loop, "ttft <= 1s", "p99 tpot <= 1s"))] == ["ttft <= 1000ms"]
    assert idle_bounds(study(loop, "max goodput", "ttft <= 1s")) == []


def test_gpu_metrics(loop: Any) -> None:
    energy = study(loop, "min energy_per_token")
    rate = study(loop, "max output_throughput_per_gpu")
    external = ExternalDeployer(ExternalSettings(url="http://127.0.0.1:1"))
    for spec in (energy, rate):
        assert wrong(spec, gpus=1) == []
        assert wrong(spec, gpus=0) == [("objective", spec.objectives[0].text)], "the default uses none"
        assert wrong(spec, external, gpus=1) == [("objective", spec.objectives[0].text)]
    kubernetes = KubernetesDeployer(KubernetesDeployer.Settings())
    assert wrong(rate, kubernetes, gpus=1) == []
    assert wrong(energy, kubernetes, gpus=1) == [("objective", "min energy_per_token")], "without their sensors"


def test_places_and_statistics_of_studies_without_a_file(loop: Any) -> None:
    elsewhere = Objective(metric="output_throughput", direction=Direction.MAX, at="concurrency=9")
    without = Objective(metric="ttft", direction=Direction.MIN)
    spec = study(loop).model_copy(update={"objectives": (elsewhere, without)})
    assert wrong(spec) == [("objective[0]", elsewhere.text), ("objective[1]", without.text)]


@pytest.mark.parametrize(
    ("asked", "workload", "named"),
    [
        ("min p99 ttft", {"stream": False}, "e2e_latency"),
        ("min p50 tpot", {"stream": False}, "stream: false"),
        ("min p99 ttft_scheduled", {"api": Api.EMBEDDINGS}, "e2e_latency_scheduled"),
        ("max output_throughput", {"api": Api.RERANK}, "document_throughput"),
        ("max document_throughput", {}, "request_throughput"),
    ],
)
def test_metric_that_the_endpoint_cannot_have(loop: Any, asked: str, workload: dict[str, Any], named: str) -> None:
    spec = study(loop, asked)
    spec = spec.model_copy(update={"workload": spec.workload.model_copy(update=workload)})
    [problem] = unmeasurable(spec, FakeDeployer(), 0)
    assert (problem.where, problem.value) == ("objective", asked)
    assert named in f"{problem.why} {problem.remedy}"
    assert wrong(study(loop, "min p99 e2e_latency")) == []


def test_endpoint_is_checked_when_the_study_is_read(tmp_path: Path) -> None:
    text = {
        "model": "m",
        "engine": "vllm",
        "workload": {"api": "embeddings", "scenarios": "E(64)", "concurrency": 1},
        "objective": ["max document_throughput", "max output_throughput"],
        "slo": ["p99 e2e_latency <= 1s", "ttft <= 1s"],
    }
    with pytest.raises(UsageError) as caught:
        parse_study(text, source="s.yaml", folder=tmp_path)
    assert [p.where for p in caught.value.problems] == ["s.yaml objective[1]", "s.yaml slo[1]"]
