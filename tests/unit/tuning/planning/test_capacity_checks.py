"""Studies whose capacity cannot be searched for are refused before anything is launched."""

import json
from pathlib import Path

from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.text.forms import parse_scenario, parse_slo
from autotuner.study.workload import CapacityLoad, LoadUnit
from autotuner.testing.samples import sample_spec
from autotuner.tuning.planning.capacity_checks import capacity_problems


def refused(trace: Path, load: CapacityLoad, slo: str = "p99 ttft <= 1s") -> list[str]:
    spec = sample_spec(slos=(parse_slo(slo),))
    workload = spec.workload.model_copy(update={"levels": (load,), "scenarios": (parse_scenario(f"trace:{trace}"),)})
    study = spec.model_copy(update={"workload": workload})
    return [problem.where for problem in capacity_problems(study, NativeBenchmark(NativeSettings()))]


def test_budgets_that_do_not_allow_one_replay(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    row = {"input_tokens": 1, "output_tokens": 1}
    trace.write_text("\n".join(json.dumps({"timestamp": n, **row}) for n in range(200)))
    assert refused(trace, CapacityLoad(unit=LoadUnit.SPEED)) == []
    small = CapacityLoad(unit=LoadUnit.SPEED, max_requests=100, max_duration_s=60.0)
    assert refused(trace, small) == ["workload.max_requests", "workload.max_duration"]
    assert refused(trace, CapacityLoad(unit=LoadUnit.SPEED), "p99 itl <= 1s") == ["slos"]


def test_a_trace_that_cannot_be_read_is_left_to_the_preflight(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing.jsonl", CapacityLoad(unit=LoadUnit.SPEED)) == []
