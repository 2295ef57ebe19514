"""Prompts of a replayed trace: what two prompts share in the trace, they share here, and nothing else.

A prompt is a sequence of units that are one token each: words that the tokenizer does not split, or token IDs. Without
a tokenizer, units are words of about 1.25 tokens, and positions are converted with the calibration. A block of the
trace begins with units derived from its id, so that different blocks differ at once, and continues with filler.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prompt_words import Units
from autotuner.benchmarks.loadgen.prompts import RequestFactory, row_prompt
from autotuner.benchmarks.loadgen.spec import Calibration, WorkerSpec

_HEAD = 8
"""Units of a block that are derived from its id."""
_STARTS = 4096
"""Places in the filler at which the rest of a block may begin."""
_TOKENS_PER_WORD = 1.25


class Blocks:
    """Texts of blocks, made on demand: fast enough to build a prompt of any length between two arrivals."""

    def __init__(self, units: Units, salt: str) -> None:
        self._units = units.texts
        self._separator = units.separator
        self._salt = salt.encode()
        self._filler = ""
        self._offsets: list[int] = [0]

    def text(self, name: str, units: int) -> str:
        """The first ``units`` units of a block. A shorter text of a block is the beginning of a longer one."""
        digest = blake2b(name.encode(), key=blake2b(self._salt).digest()[:16], digest_size=2 * _HEAD + 2).digest()
        numbers = [int.from_bytes(digest[index : index + 2], "big") for index in range(0, len(digest), 2)]
        head = [self._units[number % len(self._units)] for number in numbers[: min(units, _HEAD)]]
        rest = units - len(head)
        if rest <= 0:
            return self._separator.join(head)
        start = numbers[-1] % _STARTS
        self._fill(start + rest)
        filler = self._filler[self._offsets[start] : self._offsets[start + rest] - len(self._separator)]
        return self._separator.join((*head, filler))

    def _fill(self, units: int) -> None:
        if len(self._offsets) > units:
            return
        parts = [self._filler]
        at = len(self._filler)
        while len(self._offsets) <= units:
            for unit in Random(len(self._offsets)).sample(self._units, len(self._units)):
                at += len(unit) + len(self._separator)
                self._offsets.append(at)
                parts += (unit, self._separator)
        self._filler = "".join(parts)


class ReplayFactory(RequestFactory):
    """The requests of a trace, in order of arrival. Arguments as for :class:`RequestFactory`."""

    def __init__(self, spec: WorkerSpec, calibration: Calibration, host: str) -> None:
        if spec.replay is None:
            raise ValueError("the spec has no trace to replay")
        super().__init__(spec, calibration, host)
        self._replay = spec.replay
        self._blocks = Blocks(self.units, f"{spec.seed}:trace:{spec.salt}")
        self._position = positions(calibration, self.units)
        self._index = 0

    def __len__(self) -> int:
        """Requests that are left."""
        return len(self._replay.at_s) - self._index

    def next(self, *, output_share: float = 1.0) -> Request:
        """The next request."""
        index = self._index
        self._index += 1
        replay = self._replay
        output = replay.outputs[index]
        row = replay.texts[index] if replay.texts else None
        if row is not None:
            body = orjson.dumps(self._body(output, row.get("messages"), row_prompt(row)))
        else:
            first, last = self._template(output)
            text = self.prompt(index)
            if replay.token_ids:
                body = b"%b[%b]%b" % (first.removesuffix(b'"'), text.encode(), last.removeprefix(b'"'))
            else:
                body = first + text.encode() + last
        return self._request(self._spec.share.index_of(index), body, replay.inputs[index], output)

    def prompt(self, index: int) -> str:
        """The text or the comma-separated token IDs of a request's prompt."""
        replay = self._replay
        position = self._position
        end = max(1, position(replay.inputs[index]))
        parts = []
        at = 0
        for number, block in enumerate(replay.blocks[index] if replay.blocks else ()):
            until = min(end, position((number + 1) * replay.block_tokens))
            if until > at:
                parts.append(self._blocks.text(str(block), until - at))
                at = until
        if at < end:
            parts.append(self._blocks.text(f"request {self._spec.share.index_of(index)}", end - at))
        return self.units.separator.join(parts)


def positions(calibration: Calibration, units: Units) -> Callable[[int], int]:
    """How many units make the first so many tokens of a prompt, of which the server's template takes some."""
    if units.kind == "token_ids":
        return lambda tokens: tokens
    points = calibration.points
    if len(points) < 2:
        per_token = 1.0 if units.kind == "exact_words" else 1 / _TOKENS_PER_WORD
        return lambda tokens: round(tokens * per_token)
    (words, tokens_there), (more, tokens_later) = points[0], points[-1]
    slope = (more - words) / (tokens_later - tokens_there)
    template = tokens_there - words / slope
    return lambda tokens: max(0, round((tokens - template) * slope))


def checked_texts(texts: Sequence[Mapping[str, Any] | None]) -> tuple[Mapping[str, Any] | None, ...]:
    """Texts for a spec; empty if no request has one."""
    return tuple(texts) if any(texts) else ()
