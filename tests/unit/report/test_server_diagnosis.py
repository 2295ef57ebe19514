"""Why a server did what it did: sentences on numbers."""

from typing import Any

import pytest

from autotuner.report.server_diagnosis import diagnosis, server_figures
from autotuner.study.measurement import Measurement
from autotuner.study.server_metrics import GaugeStats, ServerMetrics
from autotuner.study.workload import Concurrency


def gauge(mean: float, most: float | None = None, least: float = 0.0) -> GaugeStats:
    return GaugeStats(mean=mean, min=least, max=mean if most is None else most)


def window(**figures: Any) -> Measurement:
    server = ServerMetrics(**{"engine": "sglang", "samples": 20, "running_limit_flag": "max-num-seqs", **figures})
    return Measurement(
        scenario="D(1,1)", level=Concurrency(in_flight=48), window_s=10.0, requests=1, failed=0, server=server
    )


FULL: dict[str, Any] = {"kv_usage": gauge(0.97, 1.0), "kv_full_share": 0.6, "kv_full_running": 40}


@pytest.mark.parametrize(
    ("figures", "sentences"),
    [
        ({**FULL, "preemptions": 212}, ["KV cache full from 40 requests in flight; 212 preemptions"]),
        ({**FULL, "preemptions": 1}, ["KV cache full from 40 requests in flight; 1 preemption"]),
        ({**FULL, "preemptions": 0}, ["KV cache full from 40 requests in flight"]),
        ({**FULL, "kv_full_share": 0.01}, []),
        (
            {"kv_usage": gauge(0.7, 0.93), "kv_full_share": 0.0, "preemptions": 3},
            ["3 preemptions: the KV cache was full at times (at most 93% in the samples)"],
        ),
        (
            {**FULL, "running": gauge(39, 41), "waiting": gauge(20, 24), "running_limit": 256},
            ["KV cache full from 40 requests in flight", "20 requests waited on average for KV cache"],
        ),
        (
            {"running": gauge(7.8, 8), "waiting": gauge(40), "running_limit": 8, "kv_usage": gauge(0.3, 0.35)},
            [
                "max-num-seqs (8) is the limit: 40 requests waited on average, and the KV cache was at most 35% used",
            ],
        ),
        (
            {"running": gauge(16), "waiting": gauge(4), "running_limit": 8, "replicas": 2},
            ["max-num-seqs (16) is the limit: 4 requests waited on average"],
        ),
        (
            {"running": gauge(8), "waiting": gauge(4), "saturated_share": 0.95, "kv_usage": gauge(0.3, 0.5)},
            [
                "probably max-num-seqs is the limit: at most 8 requests ran at once, 4 requests waited on average, and "
                "the KV cache was at most 50% used",
            ],
        ),
        (
            {"running": gauge(18, 21), "waiting": gauge(27), "running_limit": 64, "kv_usage": gauge(0.8, 0.91)},
            [
                "27 requests waited on average though no limit was reached: at most 21 of 64 requests ran at once, and "
                "the KV cache was at most 91% used",
            ],
        ),
        (
            {
                "running": gauge(15, 16),
                "waiting": gauge(17),
                "running_limit": 48,
                "kv_usage": gauge(0.6, 0.68),
                "reserves_kv_cache": True,
            },
            [
                "17 requests waited on average: at most 16 of 48 requests ran at once, probably because the KV cache "
                "(at most 68% used) is reserved for whole answers in advance",
            ],
        ),
        ({"running": gauge(4), "waiting": gauge(0.2, 3)}, []),
        (
            {"running": gauge(8), "waiting": gauge(10, 20), "running_limit": 8, "queue_growth": 2.0},
            ["max-num-seqs (8) is the limit: 10 requests waited on average (the queue grew by 2 requests/s)"],
        ),
        ({"prefix_hit_rate": 0.42}, ["42% of the prompt tokens came from the prefix cache"]),
        ({"prefix_hit_rate": 0.004}, []),
        ({"acceptance_rate": 0.61}, ["speculative decoding: 61% of the draft tokens were accepted"]),
        ({"samples": 0, "preemptions": 5}, []),
        ({}, []),
    ],
)
def test_the_figures_decide_the_sentence(figures: dict[str, Any], sentences: list[str]) -> None:
    assert list(diagnosis(window(**figures))) == sentences


def test_a_limit_of_as_many_requests_as_are_in_flight_does_not_hold_them_back() -> None:
    """They wait for the server's next step."""
    figures = window(running=gauge(1.5, 2), waiting=gauge(0.5, 1), running_limit=2)
    assert list(diagnosis(figures)) == ["max-num-seqs (2) is the limit: 0.5 requests waited on average"]
    assert diagnosis(figures.replaced(level=Concurrency(in_flight=2))) == ()
    one = window(running=gauge(1), waiting=gauge(1), running_limit=1).replaced(level=Concurrency(in_flight=2))
    assert list(diagnosis(one)) == ["max-num-seqs (1) is the limit: 1 request waited on average"]


def test_a_window_whose_server_was_not_asked_has_no_diagnosis() -> None:
    assert diagnosis(window().replaced(server=None)) == ()


def test_all_figures_stand_in_one_line() -> None:
    server = window(
        running=gauge(38.2, 40),
        waiting=gauge(1.26, 3),
        kv_usage=gauge(0.97, 1.0),
        prefix_hit_rate=0.421,
        preemptions=1212,
        acceptance_rate=0.6,
    ).server
    assert server is not None
    assert server_figures(server) == (
        "38 running (max 40), 1.3 waiting (max 3), KV cache 97% (max 100%), prefix cache hits 42.1%, "
        "1,212 preemptions, draft tokens accepted 60%"
    )
    assert server_figures(ServerMetrics()) == ""
