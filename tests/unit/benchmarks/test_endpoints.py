"""Windows without a stream: embeddings, rankings, and generated text in one piece."""

from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Api, RequestRate
from autotuner.testing.mock_openai import Behavior, Fault
from support.native_windows import FOUR, measured

pytestmark = pytest.mark.anyio

SHORT = {"warmup_s": 0.1, "duration_s": 10.0, "min_requests": 0, "requests": 40}
STREAMED = {"ttft", "ttft_scheduled", "tpot", "itl", "itl_token"}


@pytest.mark.parametrize(
    ("api", "text", "tokens", "documents"),
    [
        (Api.EMBEDDINGS, "E(40)", 40, 1),
        (Api.EMBEDDINGS, "E(40) documents=3", 120, 3),
        (Api.RERANK, "R(40,10) documents=4", 200, 4),
    ],
)
async def test_documents(tmp_path: Path, api: Api, text: str, tokens: int, documents: int) -> None:
    seen, server = await measured(tmp_path, Behavior(ttft_s=0.004), scenario=parse_scenario(text), api=api, **SHORT)
    sent = server.log[-1]
    assert len(sent.documents) == documents
    assert len(set(sent.documents)) == documents
    assert "max_tokens" not in sent.body
    assert sent.headers["accept"] == "application/json"
    assert sum(len(document.split()) + 5 for document in sent.documents) == tokens
    assert seen.failed == 0
    assert set(seen.distributions) == {"e2e_latency"}
    assert {"output_throughput", "total_throughput"}.isdisjoint(seen.scalars)
    rate = seen.scalars["request_throughput"]
    assert seen.scalars["document_throughput"] == pytest.approx(documents * rate)
    assert seen.scalars["input_throughput"] == pytest.approx(tokens * rate, rel=0.3)
    assert seen.token_source == "none"
    assert not [warning for warning in seen.warnings if "tokens" in warning], seen.warnings
    records = read_records(tmp_path / "records.parquet")
    assert set(records.columns["documents"]) == {documents}
    assert summarize(records, name="records.parquet").scalars == seen.scalars


async def test_latency_is_that_of_the_whole_answer(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.02, itl_s=0.01)
    seen, server = await measured(
        tmp_path, behavior, RequestRate(rate=50), scenario=parse_scenario("D(16,4)"), stream=False, **SHORT
    )
    assert "stream" not in server.log[-1].body
    assert STREAMED.isdisjoint(seen.distributions)
    truth = min((t.sent_ns[-1] - t.received_ns) / 1e9 for t in server.log if t.sent_ns and t.body["max_tokens"] == 4)
    latency = seen.distributions["e2e_latency"]
    assert latency.min is not None
    assert truth == pytest.approx(0.05, rel=0.3)
    assert latency.min >= truth
    assert seen.scalars["output_throughput"] == pytest.approx(4 * seen.scalars["request_throughput"], rel=0.3)
    assert "document_throughput" not in seen.scalars


async def test_unknown_number_of_tokens_is_absent_and_named(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior(usage=False), stream=False, **SHORT)
    assert seen.failed == 0
    assert {"output_throughput", "total_throughput"}.isdisjoint(seen.scalars)
    assert seen.token_source == "unknown"
    assert [warning for warning in seen.warnings if "usage" in warning]


@pytest.mark.parametrize(
    ("behavior", "kind"),
    [
        (Behavior(fault=Fault.STATUS, fault_status=503), "http_503"),
        (Behavior(fault=Fault.CUT), "cut_stream"),
        (Behavior(fault=Fault.EMPTY), "empty"),
        (Behavior(fault=Fault.BAD_JSON), "not_json"),
        (Behavior(fault=Fault.ERROR_EVENT), "error_in_200"),
        (Behavior(missing_results=1), "too_few_results"),
    ],
)
async def test_failures(tmp_path: Path, behavior: Behavior, kind: str) -> None:
    seen, _ = await measured(
        tmp_path,
        behavior,
        FOUR,
        scenario=parse_scenario("E(8) documents=2"),
        api=Api.EMBEDDINGS,
        warmup_s=0.05,
        duration_s=0.3,
        min_requests=0,
    )
    assert set(seen.errors) == {kind}
    assert seen.requests == seen.failed > 0
    assert not seen.distributions


async def test_slow_answer_is_censored_not_failed(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.01, fault=Fault.HANG, fault_when=lambda number: number % 20 == 19)
    seen, _ = await measured(
        tmp_path,
        behavior,
        FOUR,
        scenario=parse_scenario("E(8)"),
        api=Api.EMBEDDINGS,
        warmup_s=0.1,
        duration_s=0.6,
        max_duration_s=0.6,
        min_requests=0,
        drain_s=0.2,
    )
    assert seen.failed == 0
    assert seen.distributions["e2e_latency"].censored > 0


async def test_images(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.004, itl_s=0.001, template_tokens=500)
    scenario = parse_scenario("I(64,48,2) input=20 output=4")
    seen, server = await measured(tmp_path, behavior, scenario=scenario, **SHORT)
    assert seen.failed == 0
    assert len(server.log[-1].body["messages"][-1]["content"]) == 3
    urls = [part["image_url"]["url"] for truth in server.log for part in truth.body["messages"][-1]["content"][1:]]
    assert len(set(urls)) == len(urls)
    assert {"ttft", "tpot", "e2e_latency"} <= set(seen.distributions)
    assert seen.scalars["input_throughput"] > 250 * seen.scalars["request_throughput"], "with the images' tokens"
    assert not [warning for warning in seen.warnings if "prompts had" in warning]
