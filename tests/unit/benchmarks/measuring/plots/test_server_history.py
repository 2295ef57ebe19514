"""Figures of a server over time."""

from autotuner.benchmarks.measuring.plots.server_history import figures_over_time
from autotuner.benchmarks.measuring.server_samples import ServerSamples
from autotuner.engines.sglang.server_metrics import SERVER_METRICS as SGLANG
from autotuner.engines.vllm.server_metrics import SERVER_METRICS as VLLM

S = 1_000_000_000


def test_gauges_are_as_sampled_and_counters_are_rates() -> None:
    series = {
        "vllm:num_requests_running": (3.0, 4.0, 5.0, 4.0),
        "vllm:generation_tokens_total": (100.0, 200.0, None, 600.0),
        "vllm:num_preemptions_total": (7.0, 1.0, 3.0, 3.0),
    }
    samples = ServerSamples(at_ns=(-S, 0, S, 2 * S), series=series)
    times, found = figures_over_time(samples, (SGLANG, VLLM))
    assert times == (-1, 0, 1, 2)
    assert found == {
        "running": [3, 4, 5, 4],
        "generated_rate": [None, 100, None, 200],
        "preemption_rate": [None, None, 2, 0],
    }


def test_samples_of_no_known_engine_have_no_figures() -> None:
    samples = ServerSamples(at_ns=(0,), series={"other": (1.0,)})
    assert figures_over_time(samples, (SGLANG, VLLM)) == ((0,), {})
