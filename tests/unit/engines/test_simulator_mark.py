"""How a server reports that it is a simulator, so that its numbers are never taken for real ones."""

import pytest

from support.engine_cases import EngineCases
from support.engine_cases.all_engines import ALL

METRIC = "# TYPE autotuner_simulated gauge\nautotuner_simulated {}\n"
CASES = [pytest.param(ALL[name], id=name) for name in ("sglang", "vllm", "tensorrt_llm", "simulated_sglang")]


@pytest.mark.parametrize("cases", CASES)
def test_a_simulator_is_recognized(cases: EngineCases) -> None:
    assert cases.engine.resolved({"simulated": True, "version": "1"}, "", "")["simulated"] is True
    assert cases.engine.resolved({}, METRIC.format(1), "") == {"simulated": True}


@pytest.mark.parametrize("cases", CASES)
def test_a_real_server_is_not_taken_for_a_simulator(cases: EngineCases) -> None:
    assert cases.engine.resolved({"simulated": "no"}, METRIC.format(0), "") == {}
