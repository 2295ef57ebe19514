"""Calibration against a running server, or against a local tokenizer plus the length of the server's chat template."""

import asyncio
from collections.abc import Callable

from autotuner.benchmarks.loadgen.calibrate import CountTokens, calibrate
from autotuner.benchmarks.loadgen.endpoints.document_prompts import DocumentFactory, document_targets
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.request_loop import Load
from autotuner.benchmarks.loadgen.prompt_words import exact_words
from autotuner.benchmarks.loadgen.prompts import RequestFactory, calibration_targets
from autotuner.benchmarks.loadgen.spec import Calibration, Replay, WorkerSpec
from autotuner.benchmarks.loadgen.tokens import counter

_SAMPLE_WORDS = 8
_REPLAY_TARGETS = (64, 512, 2048)


async def probe_calibration(spec: WorkerSpec) -> Calibration:
    """Calibrates the prompt lengths of a spec by sending probes to its server.

    Returns:
        A calibration without points for a dataset, or if the server reports no usage and the spec has no tokenizer.
    """
    if spec.replay is not None:
        return await _replay_calibration(spec, spec.replay)
    if spec.images is not None or (spec.input is None and spec.documents is None):
        return Calibration()
    prefix = spec.prefix_tokens
    if spec.token_ids:
        return _exact(0, prefix)
    prober = _Prober(spec)
    targets = calibration_targets(spec.input) if spec.documents is None else document_targets(spec.documents)
    try:
        if spec.tokenizer_json is None:
            count: CountTokens = prober.count_by_server
        elif exact_words(spec.tokenizer_json):
            return _exact(await prober.template_tokens(counter(spec.tokenizer_json), prefix), prefix)
        else:
            count = await prober.local_counter(spec.tokenizer_json)
        return await calibrate(count, targets, prefix, template=spec.documents is None)
    finally:
        await prober.close()


async def _replay_calibration(spec: WorkerSpec, replay: Replay) -> Calibration:
    """For prompts of units that are one token each, only the length of the server's template is unknown."""
    if replay.token_ids or (replay.texts and all(replay.texts)):
        return Calibration()
    prober = _Prober(spec)
    longest = max(replay.inputs)
    targets = sorted({min(tokens, longest) for tokens in _REPLAY_TARGETS})
    try:
        if spec.tokenizer_json is None:
            return await calibrate(prober.count_by_server, targets, 0)
        template = await prober.template_tokens(counter(spec.tokenizer_json))
        if exact_words(spec.tokenizer_json):
            return _exact(template, 0)
        return await calibrate(await prober.local_counter(spec.tokenizer_json), targets, 0)
    finally:
        await prober.close()


def _exact(template: int, prefix: int) -> Calibration:
    """The calibration of prompts made of units that are one token each."""
    return Calibration(((0, template + prefix), (1, template + prefix + 1)), prefix)


class _Prober:
    """Sends one probe at a time."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._load = Load(spec.url, self._no_further_request, timeout_s=spec.request_timeout_s, access=spec.access)
        kind = RequestFactory if spec.documents is None else DocumentFactory
        self._factory = kind(spec, Calibration(), self._load.connections.host)
        self._ended: asyncio.Queue[Request] = asyncio.Queue()
        self._load.on_ended = self._ended.put_nowait

    async def count_by_server(self, words: int, prefix_words: int) -> int | None:
        """The prompt tokens that the server reports for a probe; None if the probe fails or reports none."""
        self._load.send(self._factory.probe(words, prefix_words))
        probe = await self._ended.get()
        return probe.usage_prompt_tokens if probe.error is None else None

    async def local_counter(self, tokenizer_json: str) -> CountTokens:
        """A local counter; one probe to the server measures how many tokens its chat template adds."""
        count = counter(tokenizer_json)
        template = await self.template_tokens(count)

        async def count_locally(words: int, prefix_words: int) -> int | None:
            return count(self._factory.text(words, prefix_words)) + template

        return count_locally

    async def template_tokens(self, count: Callable[[str], int], prefix_words: int = 0) -> int:
        """Tokens that the server adds to a prompt and its prefix; 0 if it does not report them."""
        reported = await self.count_by_server(_SAMPLE_WORDS, prefix_words)
        return max(0, reported - count(self._factory.text(_SAMPLE_WORDS, prefix_words))) if reported else 0

    async def close(self) -> None:
        await self._load.close()

    def _no_further_request(self) -> Request:
        raise RuntimeError("no request follows a probe")
