"""Failed requests of the native load generator: each has its error kind and counts."""

from pathlib import Path

import pytest

from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.testing.benchmark_kit import (
    UrlEndpoint,
    make_window,
)
from autotuner.testing.mock_openai import Behavior, Fault, mock_openai
from support.native_windows import FOUR, measured

pytestmark = pytest.mark.anyio


async def test_error_event_in_a_200_stream_is_a_failure(tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.ERROR_EVENT, fault_when=lambda n: n % 2 == 1)
    seen, _ = await measured(tmp_path, behavior)
    assert seen.errors == {"stream_error": seen.failed}
    assert 0 < seen.failed < seen.requests
    assert any("out of memory" in message for message in seen.error_messages.values())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.STATUS, "http_503"),
        (Fault.CUT, "cut_stream"),
        (Fault.TRUNCATED, "cut_stream"),
        (Fault.EMPTY, "empty"),
        (Fault.NO_ANSWER, "cut_stream"),
        (Fault.GARBAGE, "bad_response"),
        (Fault.BAD_JSON, "stream_error"),
    ],
)
async def test_each_fault_has_its_error_kind(tmp_path: Path, fault: Fault, kind: str) -> None:
    behavior = Behavior(fault=fault, fault_status=503, fault_when=lambda n: n % 3 == 2)
    seen, _ = await measured(tmp_path, behavior, duration_s=10.0, min_requests=0, requests=12)
    assert set(seen.errors) == {kind}
    assert seen.scalars["success_rate"] == pytest.approx(1 - seen.failed / seen.requests)
    assert 0 < seen.failed < seen.requests


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
async def test_hanging_requests_time_out(tmp_path: Path, fault: Fault) -> None:
    behavior = Behavior(fault=fault, fault_when=lambda n: n % 5 == 4)
    seen, _ = await measured(tmp_path, behavior, request_timeout_s=0.3, duration_s=0.8)
    assert set(seen.errors) == {"timeout"}
    assert seen.failed < seen.requests


async def test_request_that_hangs_beyond_the_drain_counts(tmp_path: Path) -> None:
    behavior = Behavior(fault=Fault.HANG, fault_when=lambda n: n == 12)
    seen, _ = await measured(tmp_path, behavior, request_timeout_s=100.0, duration_s=0.6, drain_s=0.3)
    assert seen.errors == {"timeout": 1}


async def test_refused_connections_count(tmp_path: Path) -> None:
    async with mock_openai() as server:
        url = server.url
    seen = await NativeBenchmark(NativeSettings()).measure(UrlEndpoint(url), make_window(tmp_path, FOUR))
    assert seen.errors == {"connect": seen.requests}
    assert seen.requests < 4 * 1.5 / 0.1 + 8, "a dead server is not flooded"


async def test_server_that_closes_connections_gets_new_ones(tmp_path: Path) -> None:
    seen, server = await measured(tmp_path, Behavior(keep_alive=False))
    assert seen.failed == 0
    assert server.connections >= seen.requests
