"""Calibrates prompt lengths against a live server, or against a local tokenizer with the server's template added."""

import asyncio

from autotuner.benchmarks.loadgen.calibrate import CountTokens, calibrate
from autotuner.benchmarks.loadgen.prompts import Requests, targets
from autotuner.benchmarks.loadgen.request import Request
from autotuner.benchmarks.loadgen.request_loop import Load
from autotuner.benchmarks.loadgen.spec import Calibration, WorkerSpec
from autotuner.benchmarks.loadgen.tokens import counter

_SAMPLE_WORDS = 8


async def calibrated(spec: WorkerSpec) -> Calibration:
    """Words per prompt for this spec's lengths; empty for datasets, and where the server reports no usage and there
    is no tokenizer."""
    if spec.input is None:
        return Calibration()
    prober = _Prober(spec)
    wanted = targets(spec.input)
    try:
        if spec.tokenizer_json is None:
            return await calibrate(prober.ask, wanted, spec.prefix_tokens)
        return await calibrate(await prober.counting(spec.tokenizer_json), wanted, spec.prefix_tokens)
    finally:
        await prober.close()


class _Prober:
    """Sends one probe at a time."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._load = Load(spec.url, self._none, timeout_s=spec.request_timeout_s, access=spec.access)
        self._maker = Requests(spec, Calibration(), self._load.connections.host)
        self._answers: asyncio.Queue[Request] = asyncio.Queue()
        self._load.on_ended = self._answers.put_nowait

    async def ask(self, words: int, prefix_words: int) -> int | None:
        """The server's count of such a prompt; None when it gives none."""
        self._load.send(self._maker.probe(words, prefix_words))
        answer = await self._answers.get()
        return answer.usage_prompt_tokens if answer.error is None else None

    async def counting(self, tokenizer_json: str) -> CountTokens:
        """Counts here, after one question to the server about what its template adds."""
        count = counter(tokenizer_json)
        seen = await self.ask(_SAMPLE_WORDS, 0)
        template = max(0, seen - count(self._maker.text(_SAMPLE_WORDS, 0))) if seen else 0

        async def counted(words: int, prefix_words: int) -> int | None:
            return count(self._maker.text(words, prefix_words)) + template

        return counted

    async def close(self) -> None:
        """Ends the connection."""
        await self._load.close()

    def _none(self) -> Request:
        raise RuntimeError("a probe is never followed by another request")
