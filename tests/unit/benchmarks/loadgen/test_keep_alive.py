"""Connections are reused: setting one up for each request would delay it, and burden the server."""

import asyncio
import sys

import orjson
import pytest

from autotuner.benchmarks.loadgen.spec import Lengths, WorkerSpec
from autotuner.testing.mock_openai import Behavior, mock_openai

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("load", [{"concurrency": 3}, {"rate": 40.0}])
async def test_a_response_leaves_its_connection_to_the_next_request(load: dict[str, float]) -> None:
    lengths = Lengths("fixed", 4)
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        spec = WorkerSpec(
            url=server.url,
            model="m",
            warmup_s=0.0,
            duration_s=0.6,
            input=lengths,
            output=lengths,
            **load,  # type: ignore[arg-type]
        )
        argv = (sys.executable, "-m", "autotuner.benchmarks.loadgen.worker")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)
        output, _ = await process.communicate(spec.to_json())
    records = [record for line in output.splitlines() for record in orjson.loads(line).get("records", ())]
    connected = sum(record["connect_ns"] > 0 for record in records)
    assert len(records) >= 12
    assert connected < len(records) / 2
