"""The worker as a process: quick to start, strict about its spec, and silent about secrets."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, WorkerSpec
from autotuner.testing.mock_openai import mock_openai

MODULE = "autotuner.benchmarks.loadgen.worker"


def test_importing_it_loads_nothing_heavy() -> None:
    code = f"import sys, {MODULE}; print([m for m in ('pydantic', 'numpy', 'httpx', 'arro3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "spec",
    [
        b"",
        b"{nonsense sk-secret",
        b'{"url": "http://127.0.0.1:1", "model": "m", "headers": {"A": "sk-secret"}}',
        b'{"url": "http://127.0.0.1:1", "model": "m", "concurrency": 1, "sk-secret": 1}',
        b'{"url": "ftp://x", "model": "m", "concurrency": 1, "input": {"kind": "fixed", "a": 1}}',
        b'{"url": "http://h", "model": "m", "concurrency": 1, "headers": {"A": "sk-secret\\r\\nB: c"}, "rows": [{}]}',
    ],
)
def test_an_unusable_spec_is_one_line_and_exit_code_2(spec: bytes) -> None:
    done = subprocess.run([sys.executable, "-m", MODULE], input=spec, capture_output=True, timeout=30)
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert said["kind"] == "error"
    assert said["message"]
    assert b"sk-secret" not in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


@given(
    st.builds(
        WorkerSpec,
        url=st.text(max_size=9),
        model=st.text(max_size=9),
        headers=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
        rate=st.floats(0.1, 99),
        input=st.none() | st.builds(Lengths, st.sampled_from(["fixed", "normal"]), st.integers(1, 99)),
        extra_body=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=2).filter(
            lambda d: all(not isinstance(v, int) or abs(v) < 2**53 for v in d.values())
        ),
        calibration=st.none() | st.just(Calibration(((1, 2), (3, 4)), 5)),
    )
)
def test_a_spec_survives_the_pipe(spec: WorkerSpec) -> None:
    assert WorkerSpec.from_json(spec.to_json()) == spec


def test_a_spec_does_not_print_its_headers() -> None:
    assert "sk-secret" not in repr(WorkerSpec(url="u", model="m", headers={"Authorization": "sk-secret"}))


@pytest.mark.anyio
async def test_a_worker_that_nobody_listens_to_ends() -> None:
    lengths = Lengths("fixed", 4)
    async with mock_openai() as server:
        spec = WorkerSpec(
            url=server.url, model="m", concurrency=1, warmup_s=0.0, duration_s=600.0, input=lengths, output=lengths
        )
        read, write = os.pipe()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, stdin=asyncio.subprocess.PIPE, stdout=write
        )
        os.close(write)
        try:
            await _give(process, spec.to_json())
            said = await asyncio.to_thread(os.read, read, 65536)
            assert json.loads(said.splitlines()[0])["state"] == "begin"
            os.close(read)
            assert await asyncio.wait_for(process.wait(), 60) == 1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _give(process: asyncio.subprocess.Process, spec: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(spec)
    await process.stdin.drain()
    process.stdin.close()
