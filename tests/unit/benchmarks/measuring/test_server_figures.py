"""Samples of a server's metrics, and what they say of the window."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.server_figures import server_metrics
from autotuner.benchmarks.measuring.server_samples import (
    ServerSamples,
    read_samples_file,
    samples_from,
    samples_name,
    write_samples,
)
from autotuner.engines.llama_cpp.server_metrics import SERVER_METRICS as LLAMA_CPP
from autotuner.engines.sglang.server_metrics import SERVER_METRICS as SGLANG
from autotuner.engines.tensorrt_llm.server_metrics import SERVER_METRICS as TENSORRT_LLM
from autotuner.engines.vllm.server_metrics import SERVER_METRICS as VLLM
from autotuner.study.server_metrics import ServerMetrics

S = 1_000_000_000
ALL = (SGLANG, VLLM, LLAMA_CPP, TENSORRT_LLM)


def seen(at_s: Sequence[float], series: Mapping[str, Sequence[float | None]], window_s: float = 10.0) -> ServerMetrics:
    samples = ServerSamples(
        at_ns=tuple(round(at * S) for at in at_s), series={n: tuple(v) for n, v in series.items()}, path="/metrics"
    )
    return server_metrics(samples, ALL, window_s)


def test_a_gauge_is_weighted_by_time_and_cut_to_the_window() -> None:
    found = seen([-1.0, 2.0, 4.0, 9.0, 11.0], {"llamacpp:requests_processing": [1, 3, 5, 7, 100]})
    assert found.engine == "llama_cpp"
    assert found.running is not None
    assert found.running.mean == pytest.approx((1 * 2 + 3 * 2 + 5 * 5 + 7 * 1) / 10)
    assert (found.running.min, found.running.max) == (1, 7)
    assert (found.samples, found.coverage) == (4, 1.0)


def test_a_gauge_that_was_not_seen_for_long_is_not_taken_to_have_stayed() -> None:
    found = seen([0.0, 90.0], {"llamacpp:requests_processing": [4, 0]}, window_s=100.0)
    assert found.coverage == pytest.approx(0.12)
    assert found.running is not None
    assert found.running.mean == pytest.approx(2.0)


def test_a_counter_is_a_difference_between_the_windows_ends() -> None:
    found = seen([-1.0, 1.0, 9.0, 11.0], {"vllm:num_preemptions_total": [10, 20, 100, 140]})
    assert found.preemptions == 120 - 15


def test_a_counter_that_appears_with_its_first_event_began_at_zero() -> None:
    series = {
        "sglang:num_retracted_requests_total": [None, None, 3, 5],
        "sglang:generation_tokens_total": [0, 10, 20, 30],
        "sglang:prompt_tokens_total": [0, 100, 200, 300],
    }
    found = seen([0.0, 3.0, 6.0, 10.0], series)
    assert found.preemptions == 5
    # SGLang's counter of cached tokens is missing until there are some.
    assert (found.cached_tokens, found.prompt_tokens, found.prefix_hit_rate) == (0, 300, 0.0)


def test_a_counter_that_goes_back_is_another_process() -> None:
    found = seen(
        [0.0, 5.0, 10.0], {"vllm:generation_tokens_total": [100, 900, 40], "vllm:num_requests_running": [1, 1, 1]}
    )
    assert found.generated_tokens is None
    assert any("more than one server process" in note for note in found.notes)
    assert found.running is not None


def test_earlier_names_are_known_and_the_current_one_wins() -> None:
    at = [0.0, 10.0]
    assert _mean_use(seen(at, {"vllm:gpu_cache_usage_perc": [0.5, 0.5]})) == 0.5
    both = {"vllm:gpu_cache_usage_perc": [0.5, 0.5], "vllm:kv_cache_usage_perc": [0.25, 0.25]}
    assert _mean_use(seen(at, both)) == 0.25
    old = {"vllm:gpu_prefix_cache_queries_total": [0, 100], "vllm:gpu_prefix_cache_hits_total": [0, 40]}
    assert seen(at, old).prefix_hit_rate == pytest.approx(0.4)


def _mean_use(found: ServerMetrics) -> float | None:
    return found.kv_usage.mean if found.kv_usage else None


def test_replicas_are_summed_and_the_fullest_cache_counts() -> None:
    series = {
        'vllm:num_requests_running{engine="0"}': [3, 3],
        'vllm:num_requests_running{engine="1"}': [4, 4],
        'vllm:kv_cache_usage_perc{engine="0"}': [0.2, 0.2],
        'vllm:kv_cache_usage_perc{engine="1"}': [0.99, 0.99],
        'vllm:num_preemptions_total{engine="0"}': [0, 2],
        'vllm:num_preemptions_total{engine="1"}': [5, 6],
    }
    found = seen([0.0, 10.0], series)
    assert found.running is not None
    assert (found.running.max, found.replicas, found.preemptions) == (7, 2, 3)
    assert (found.kv_full_share, found.kv_full_running) == (1.0, 7)


def test_ranks_that_report_the_same_batch_count_once() -> None:
    series = {
        'sglang:num_running_reqs{dp_rank="0",tp_rank="0"}': [4, 4],
        'sglang:num_running_reqs{dp_rank="0",tp_rank="1"}': [4, 4],
        'sglang:num_running_reqs{dp_rank="1",tp_rank="0"}': [2, 2],
    }
    found = seen([0.0, 10.0], series)
    assert found.running is not None
    assert (found.running.max, found.replicas) == (6, 2)


def test_kv_cache_use_is_made_of_its_parts_where_the_share_is_missing() -> None:
    found = seen([0.0, 10.0], {"trtllm_kv_cache_used_blocks": [30, 30], "trtllm_kv_cache_max_blocks": [40, 40]})
    assert _mean_use(found) == 0.75
    assert found.engine == "tensorrt_llm"


def test_the_kv_cache_is_full_from_the_fewest_running_requests_that_filled_it() -> None:
    series = {
        "sglang:token_usage": [0.5, 0.97, 0.99, 0.6],
        "sglang:num_running_reqs": [20, 44, 40, 25],
        "sglang:num_queue_reqs": [0, 8, 9, 0],
    }
    found = seen([0.0, 2.0, 5.0, 8.0], series)
    assert found.kv_full_running == 40
    assert found.kv_full_share == pytest.approx(0.6)


def test_llama_cpp_counts_computed_and_cached_prompt_tokens_apart() -> None:
    series = {"llamacpp:prompt_tokens_total": [0, 30], "llamacpp:prompt_tokens_cached_total": [0, 90]}
    found = seen([0.0, 10.0], series)
    assert (found.prompt_tokens, found.cached_tokens, found.prefix_hit_rate) == (120, 90, 0.75)


def test_rates_of_gauges_stand_in_for_missing_counters() -> None:
    found = seen([0.0, 10.0], {"trtllm_kv_cache_hit_rate": [0.3, 0.3]})
    assert found.prefix_hit_rate == pytest.approx(0.3)
    assert found.acceptance_rate is None
    drafts = {
        "vllm:spec_decode_num_draft_tokens_total": [0, 200],
        "vllm:spec_decode_num_accepted_tokens_total": [0, 120],
    }
    assert seen([0.0, 10.0], drafts).acceptance_rate == pytest.approx(0.6)


def test_a_limit_shows_as_a_constant_number_of_running_requests_while_others_wait() -> None:
    series = {"llamacpp:requests_processing": [8, 8, 6, 8], "llamacpp:requests_deferred": [0, 4, 5, 6]}
    found = seen([0.0, 2.0, 4.0, 6.0], series)
    assert found.saturated_share == pytest.approx(6 / 8)
    assert found.queue_growth == pytest.approx((6 - 1.6) / (10 * 2 / 3))


def test_impossible_values_are_left_out_and_noted() -> None:
    found = seen([0.0, 5.0], {"vllm:kv_cache_usage_perc": [45.0, 0.5], "vllm:num_requests_running": [-3, 2]})
    assert _mean_use(found) == 0.5
    assert found.running is not None
    assert found.running.min == 2
    assert len(found.notes) == 2


def test_a_server_without_known_metrics_leaves_a_note() -> None:
    found = seen([0.0], {"http_requests_total": [5]})
    assert (found.engine, found.samples, found.running) == ("", 0, None)
    assert found.notes
    refused = server_metrics(ServerSamples(path="/metrics", failed=1, notes=("/metrics: HTTP 404",)), ALL, 10.0)
    assert refused.notes == ("/metrics: HTTP 404",)


def test_no_sample_inside_the_window_leaves_no_figure() -> None:
    found = seen([11.0, 12.0], {"vllm:num_requests_running": [4, 4]})
    assert (found.samples, found.running) == (0, None)
    assert found.notes


NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 10**9).map(float)


@given(
    st.lists(st.integers(-(10**10), 3 * 10**10), min_size=0, max_size=6, unique=True).map(sorted),
    st.data(),
    st.floats(0.1, 20.0),
)
def test_no_sample_breaks_the_figures(at_ns: list[int], data: st.DataObject, window_s: float) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(n for s in ALL for n in s.all_names)), unique=True, max_size=6))
    series = {n: data.draw(st.lists(NUMBER, min_size=len(at_ns), max_size=len(at_ns))) for n in names}
    samples = samples_from({"at_ns": at_ns, "series": series, "path": "/metrics"})
    found = server_metrics(samples, ALL, window_s)
    assert 0.0 <= found.coverage <= 1.0
    assert ServerMetrics.model_validate_json(found.model_dump_json()) == found
    for stats in (found.running, found.waiting, found.kv_usage):
        assert stats is None or stats.min <= stats.mean * (1 + 1e-9) + 1e-9 <= stats.max * (1 + 1e-9) + 2e-9


def test_the_samples_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    samples = ServerSamples(
        at_ns=(-5, 10, 20),
        series={'a{x="1"}': (1.0, None, 3.5), "b": (None, 2.0, 2.0)},
        path="/metrics",
        failed=2,
        notes=("one",),
    )
    write_samples(tmp_path / "server.parquet", samples)
    assert read_samples_file(tmp_path / "server.parquet") == samples
    assert [p.name for p in tmp_path.iterdir()] == ["server.parquet"]
    (tmp_path / "other.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="does not contain samples"):
        read_samples_file(tmp_path / "other.parquet")


def test_the_file_stands_beside_its_records() -> None:
    assert samples_name("records-0-1-0.parquet") == "server-0-1-0.parquet"
    assert samples_name("other.parquet") == "server-other.parquet"
