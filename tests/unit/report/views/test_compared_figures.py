"""Figures of the winner beside those of the default."""

import pytest

from autotuner.report.views.compared_figures import _side


@pytest.mark.parametrize(
    ("metric", "values", "text", "spread"),
    [
        ("output_throughput", (1200.0, 1300.0), "1,250 tokens/s", "1,200 to 1,300"),
        ("ttft", (0.1, 0.3), "200 ms", "100 to 300"),
        ("success_rate", (0.98, 1.0), "99%", "98% to 100%"),
        ("cost_per_million_output_tokens", (1.0, 2.0), "$1.50 per 1M tokens", "$1.00 to $2.00"),
        ("cost_per_request", (0.01, 0.03), "$0.02 per request", "$0.01 to $0.03"),
        ("capacity_in_flight", (12.0, 14.0), "13 in flight", "12 to 14"),
        ("ttft", (0.1, 0.1), "100 ms", ""),
        ("ttft", (), "-", ""),
    ],
)
def test_a_range_has_no_unit(metric: str, values: tuple[float, ...], text: str, spread: str) -> None:
    side = _side(metric, values)
    assert (side.text, side.spread) == (text, spread)
