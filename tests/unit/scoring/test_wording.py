"""User-visible wordings of verdicts: why a trial must not be ranked, and what its windows cannot support."""

from typing import Any

from syrupy.assertion import SnapshotAssertion

from autotuner.scoring import score
from autotuner.study.measurement import Distribution, Measurement, SelfCheck
from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.workload import Concurrency

LEVEL = Concurrency(in_flight=8)
P99_TTFT = Objective(metric="ttft", statistic="p99", direction=Direction.MIN)


def reasons(**changes: Any) -> list[str]:
    ttft = Distribution(count=30, mean=1, std=0, min=1, p50=1, p75=1, p90=1, p95=1, p99=1, p99_9=1, max=1)
    window = Measurement(
        scenario="D(8,8)", level=LEVEL, window_s=10, requests=100, failed=0, distributions={"ttft": ttft}
    )
    expected = [("D(8,8)", LEVEL)]
    found = score([window.replaced(**changes)], [P99_TTFT], (), min_success_rate=0.99, expected=expected)
    return [*found.reasons, *found.unsure]


def test_reasons(snapshot: SnapshotAssertion) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"overloaded": True},
        {"distributions": {}},
        {"thin": ("3 requests finished",)},
        {"self_check": SelfCheck(client_limited=True)},
        {"self_check": SelfCheck(client_limited=True, reasons=("loop lag", "dropped requests"))},
    ]
    assert [reasons(**one) for one in changes] == snapshot
