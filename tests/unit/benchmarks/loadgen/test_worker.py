"""The worker process: light imports, strict parsing of its spec, and no secrets in its output."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, WorkerSpec
from autotuner.net.proxies import Proxy
from autotuner.net.target import Access
from autotuner.testing.mock_openai import mock_openai

MODULE = "autotuner.benchmarks.loadgen.worker"


def test_import_is_light() -> None:
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
def test_invalid_spec_exits_with_code_2_and_one_line(spec: bytes) -> None:
    done = subprocess.run([sys.executable, "-m", MODULE], input=spec, capture_output=True, timeout=30)
    assert done.returncode == 2
    line = json.loads(done.stdout)
    assert line["kind"] == "error"
    assert line["message"]
    assert b"sk-secret" not in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


def test_a_proxy_that_cannot_be_used_comes_with_its_own_remedy() -> None:
    access = Access(proxy=Proxy(url="https://user:sk-secret@proxy:1", variable="HTTPS_PROXY"))
    lengths = Lengths("fixed", 4)
    spec = WorkerSpec(url="http://h", model="m", concurrency=1, access=access, input=lengths, output=lengths)
    done = subprocess.run([sys.executable, "-m", MODULE], input=spec.to_json(), capture_output=True, timeout=30)
    assert done.returncode == 2
    error = json.loads(done.stdout)
    assert "NO_PROXY" in error["remedy"]
    assert error["remedy"] not in error["message"]
    assert b"sk-secret" not in done.stdout + done.stderr


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
def test_spec_round_trip(spec: WorkerSpec) -> None:
    assert WorkerSpec.from_json(spec.to_json()) == spec


def test_spec_repr_omits_headers() -> None:
    assert "sk-secret" not in repr(WorkerSpec(url="u", model="m", headers={"Authorization": "sk-secret"}))


@pytest.mark.anyio
async def test_worker_exits_when_its_reader_is_gone() -> None:
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
            await _send_spec(process, spec.to_json())
            output = await asyncio.to_thread(os.read, read, 65536)
            assert json.loads(output.splitlines()[0])["state"] == "begin"
            os.close(read)
            assert await asyncio.wait_for(process.wait(), 60) == 1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _send_spec(process: asyncio.subprocess.Process, spec: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(spec)
    await process.stdin.drain()
    process.stdin.close()
