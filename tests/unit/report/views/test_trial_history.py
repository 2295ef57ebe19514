"""Charts of a trial over time."""

from hypothesis import given
from hypothesis import strategies as st

from autotuner.report.views.trial_history import gpu_charts, server_charts, thinned
from autotuner.study.launch import GpuSample


def test_charts_have_lines_of_what_is_known() -> None:
    charts = server_charts({
        "running": ([0, 1], [3, 4]),
        "waiting": ([0, 1], [None, None]),
        "kv_usage": ([0, 1], [0.5, None]),
    })  # fmt: skip
    assert [(c.id, [line.name for line in c.lines]) for c in charts] == [
        ("requests", ["running"]),
        ("kv_usage", ["KV cache"]),
    ]
    assert charts[1].lines[0].values == (50, None)


def test_one_line_per_gpu() -> None:
    samples = [
        GpuSample(at=12.0, index=1, utilization=0.5, power_w=300),
        GpuSample(at=11.0, index=1, utilization=0.25, power_w=200),
        GpuSample(at=11.0, index=0, utilization=1.0),
    ]
    charts = gpu_charts(samples, 10.0)
    assert [(c.id, [(line.name, line.at, line.values) for line in c.lines]) for c in charts] == [
        ("utilization", [("GPU 0", (1.0,), (100,)), ("GPU 1", (1.0, 2.0), (25, 50))]),
        ("power_w", [("GPU 1", (1.0, 2.0), (200, 300))]),
    ]


@given(st.lists(st.none() | st.floats(-5, 5), max_size=300), st.integers(4, 60))
def test_thinning_keeps_extremes_and_gaps(values: list[float | None], most: int) -> None:
    at, found = thinned(range(len(values)), values, most=most)
    assert list(at) == sorted(at)
    assert all(values[int(i)] == value for i, value in zip(at, found, strict=True))
    assert len(at) <= max(len(values) if len(values) <= most else 0, most * 1.5 + 3)
    known = [v for v in values if v is not None]
    if known:
        assert {min(known), max(known)} <= set(found)
    assert (None in found) == (None in values)
