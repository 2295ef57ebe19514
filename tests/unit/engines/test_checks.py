"""What each engine refuses before a launch, what it accepts, and what it only warns about."""

import re

import pytest

from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.engines.shared.gpu_engine import GpuEngine
from autotuner.engines.tensorrt_llm.engine import TensorrtLlm, TensorrtLlmSettings
from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.spec import EngineSpec, Model
from support.engine_cases import EngineCases, Refused, Unsupported, machine
from support.engine_cases.all_engines import ALL

REFUSED = [pytest.param(c, r, id=f"{n}-{r.where}-{i}") for n, c in ALL.items() for i, r in enumerate(c.refused)]
ACCEPTED = [pytest.param(c, values, id=f"{n}-{i}") for n, c in ALL.items() for i, values in enumerate(c.accepted)]
UNSUPPORTED = [pytest.param(c, u, id=f"{n}-{u.where}-{i}") for n, c in ALL.items() for i, u in enumerate(c.unsupported)]
SECRETS = [pytest.param(c, flag, id=f"{n}-{flag}") for n, c in ALL.items() for flag in c.secrets]
GPUS = [pytest.param(c, v, count, id=f"{n}-{i}") for n, c in ALL.items() for i, (v, count) in enumerate(c.gpus)]
MISSPELLED = [pytest.param(c, *c.misspelled, id=n) for n, c in ALL.items() if c.misspelled]


@pytest.mark.parametrize(("cases", "refused"), REFUSED)
def test_impossible_values_are_refused_before_launch(cases: EngineCases, refused: Refused) -> None:
    (problem,) = cases.engine.check(refused.values, cases.hardware)
    assert problem.where == refused.where
    assert problem.remedy
    assert all(fact in f"{problem.value} {problem.why}; {problem.remedy}" for fact in refused.facts)


@pytest.mark.parametrize(("cases", "values"), ACCEPTED)
def test_possible_values_are_accepted(cases: EngineCases, values: dict[str, Value]) -> None:
    assert cases.engine.check(values, cases.hardware) == []


@pytest.mark.parametrize(("cases", "unsupported"), UNSUPPORTED)
def test_values_that_the_gpu_cannot_run_are_refused(cases: EngineCases, unsupported: Unsupported) -> None:
    (problem,) = cases.engine.check(unsupported.values, machine(unsupported.gpu))
    assert problem.where == unsupported.where
    assert re.search(rf"compute capability {re.escape(unsupported.needs)}[ ;]", problem.why)
    assert cases.engine.check(unsupported.values, machine("")) == [], "an unknown GPU passes every check"
    assert cases.engine.check(unsupported.values, machine("Some New GPU")) == []


@pytest.mark.parametrize(("cases", "flag"), SECRETS)
def test_secrets_stay_off_the_command_line(cases: EngineCases, flag: str) -> None:
    (problem,) = cases.engine.check({flag: "s3cret"}, cases.hardware)
    assert problem.where == cases.engine.canonical(flag)
    assert "s3cret" not in str(problem)
    assert problem.remedy


@pytest.mark.parametrize(("cases", "values", "count"), GPUS)
def test_gpu_count(cases: EngineCases, values: dict[str, Value], count: int) -> None:
    assert cases.engine.gpus(values) == count


@pytest.mark.parametrize(
    "engine",
    [
        Sglang(SglangSettings(device="cpu")),
        Vllm(VllmSettings(device="cpu")),
        TensorrtLlm(TensorrtLlmSettings(device="cpu")),
    ],
    ids=lambda engine: engine.kind,
)
def test_a_cpu_build_needs_no_gpu(engine: GpuEngine) -> None:
    assert engine.gpus({engine.starter_degree: 4}) == 0
    assert engine.plan(Model(path="m"), EngineSpec(kind=engine.kind), Configuration()).gpus == 0


@pytest.mark.parametrize(("cases", "misspelled", "meant"), MISSPELLED)
def test_flags_that_are_not_in_the_catalog_get_a_warning(cases: EngineCases, misspelled: str, meant: str) -> None:
    known = next(iter(cases.engine.catalog))
    near, unknown = cases.engine.notes({misspelled: 1, "zzz": 1, known: None})
    assert (near.where, unknown.where) == (misspelled, "zzz")
    assert f'"{meant}"' in near.remedy
    assert unknown.remedy
    assert cases.engine.check({misspelled: 1, "zzz": 1}, cases.hardware) == []
