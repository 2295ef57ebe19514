"""Serialized requests: distinct prompts of a given token length, each with an output length.

All prompts of ``n`` words contain the same words in a different order: the first ones shuffled, the rest rotated.
Nearly every tokenizer splits text at words, so these prompts have the same number of tokens, but different beginnings:
a prefix cache cannot serve any of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any
from urllib.parse import urlsplit

import orjson

from autotuner.benchmarks.loadgen.calibrate import words_for
from autotuner.benchmarks.loadgen.conversations.message_text import transcript
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.tunnel import proxy_headers
from autotuner.benchmarks.loadgen.http.whole_answer import WholeAnswer
from autotuner.benchmarks.loadgen.prompt_words import WORD_UNITS, Units
from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, WorkerSpec

PROMPT = "@prompt@"
"""Place of the prompt in the template of a request's body."""
_SHUFFLED = 48
"""Words at the start of a prompt that are shuffled. Rotating the rest is cheaper, and 48 words exceed the blocks of 16
tokens that prefix caches match."""
_PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank",
}
DEFAULT_OUTPUT = 256
"""``max_tokens`` for a dataset row without a length."""


def draw(lengths: Lengths, rng: Random) -> int:
    """Draws one length in tokens, at least 1."""
    if lengths.kind == "normal":
        return max(1, round(rng.gauss(lengths.a, lengths.b)))
    if lengths.kind == "uniform":
        return rng.randint(max(1, lengths.a), max(1, lengths.b))
    return max(1, lengths.a)


def calibration_targets(lengths: Lengths | None) -> list[int]:
    """Prompt lengths in tokens, ascending, at which the calibration should be exact."""
    if lengths is None:
        return []
    if lengths.kind == "normal":
        found = {max(1, lengths.a - 2 * lengths.b), lengths.a, lengths.a + 2 * lengths.b}
    else:
        found = {lengths.a, lengths.b} if lengths.kind == "uniform" else {lengths.a}
    return sorted(max(1, n) for n in found)


class PromptText:
    """Generator of texts with a given number of words, fast enough to run while the load is on.

    Args:
        rng: Source of randomness.
        units: The words, or the token IDs that stand for them.
    """

    def __init__(self, rng: Random, units: Units = WORD_UNITS) -> None:
        self._rng = rng
        self._units = units.texts
        self._separator = units.separator
        self._base: list[str] = []
        self._tails: dict[int, str] = {}

    def skip(self, words: int) -> str | None:
        """Advances as :meth:`make` does. Returns a text only if it is so short that it may come twice."""
        if words <= _SHUFFLED:
            return self.make(words)
        head = [""] * _SHUFFLED
        self._rng.shuffle(head)
        self._rng.randrange(len(self._tail(words)))
        return None

    def make(self, words: int, rng: Random | None = None) -> str:
        """A text of so many words; the same every time for an equal ``rng``."""
        rng = rng or self._rng
        self._extend(words)
        head = self._base[:words][:_SHUFFLED]
        rng.shuffle(head)
        separator = self._separator
        if words <= _SHUFFLED:
            return separator.join(head)
        tail = self._tail(words)
        pivot = tail.find(separator, rng.randrange(len(tail)))
        rotated = tail if pivot < 0 else f"{tail[pivot + 1 :]}{separator}{tail[:pivot]}"
        return f"{separator.join(head)}{separator}{rotated}"

    def _extend(self, words: int) -> None:
        while len(self._base) < words:
            self._base.extend(Random(len(self._base)).sample(self._units, len(self._units)))

    def _tail(self, words: int) -> str:
        tail = self._tails.get(words)
        if tail is None:
            self._extend(words)
            tail = self._tails[words] = self._separator.join(self._base[_SHUFFLED:words])
        return tail


class RequestFactory:
    """A reproducible sequence of requests: lengths follow from the seed, prompts from the seed and the window's salt.

    Of a load that several processes send, each makes every n-th request of the same sequence. A dataset's rows are
    divided already.

    Args:
        spec: The window.
        calibration: Words per prompt length.
        host: Value of the ``Host`` header.
    """

    def __init__(self, spec: WorkerSpec, calibration: Calibration, host: str) -> None:
        self._spec = spec
        self._calibration = calibration
        self._lengths = Random(f"{spec.seed}:lengths")
        ids = spec.token_ids if spec.replay is None else spec.replay.token_ids
        self.units = Units.of(spec.tokenizer_json, ids=ids)
        self._text = PromptText(Random(f"{spec.seed}:prompts:{spec.salt}"), self.units)
        self._probes = PromptText(Random(f"{spec.seed}:probes:{spec.salt}"), self.units)
        self._prefix = self._shared(calibration.prefix_words)
        self._head = _head(spec, host)
        self._templates: dict[int, tuple[bytes, bytes]] = {}
        self._rows = None if spec.rows is None else _cycled(spec.rows, spec.row_order)
        self._taken = 0
        """Rows that have been taken."""
        self._sent: set[int] = set()
        self._index = 0
        self._drawn = 0
        """Requests whose lengths have been drawn, those of other processes included."""

    def next(self, *, output_share: float = 1.0) -> Request:
        """The next request.

        Args:
            output_share: Fraction of the drawn output length to request; below 1 it staggers a closed loop's start.

        Raises:
            ValueError: The spec has neither lengths nor rows.
        """
        index = self._spec.share.index_of(self._index)
        self._index += 1
        if self._rows is None:  # a dataset's rows are divided already
            # Requests of other processes, so that theirs and ours together are those of one process.
            while self._drawn < index:
                self.skip()
                self._drawn += 1
            self._drawn += 1
        return self._make(index, output_share)

    def skip(self) -> None:
        """Draws a request that another process sends."""
        spec = self._spec
        if self._rows is not None:
            next(self._rows)
            self._taken += 1
            return
        if spec.input is None or spec.output is None:
            raise ValueError("the spec has neither token lengths nor dataset rows")
        words = self._words_for(draw(spec.input, self._lengths))
        draw(spec.output, self._lengths)
        self._skip_text(words)

    def _skip_text(self, words: int) -> None:
        text = self._text.skip(words)
        if text is not None:
            self._sent.add(hash(text))

    def _make(self, index: int, output_share: float) -> Request:
        spec = self._spec
        if self._rows is not None:
            row, reused = next(self._rows)
            asked = int(row.get("max_tokens") or DEFAULT_OUTPUT)
            output = max(1, round(asked * output_share))
            body = orjson.dumps(self._body(output, row.get("messages"), row_prompt(row)))
            request = self._request(index, body, 0, output, reused=reused)
            request.row = self._taken_row()
            return request
        if spec.input is None or spec.output is None:
            raise ValueError("the spec has neither token lengths nor dataset rows")
        asked_input = draw(spec.input, self._lengths)
        output = max(1, round(draw(spec.output, self._lengths) * output_share))
        text = self._text.make(self._words_for(asked_input))
        first, last = self._template(output)
        key = hash(text)
        reused = key in self._sent  # a prompt of very few words has few permutations
        self._sent.add(key)
        body = first + text.encode() + last
        return self._request(index, body, asked_input + spec.prefix_tokens, output, reused=reused)

    def _taken_row(self) -> int:
        """The place among all rows of the one that has just been taken."""
        self._taken += 1
        return self._spec.share.index_of(self._taken - 1)

    def _words_for(self, asked_input: int) -> int:
        return words_for(self._calibration.points, asked_input + self._spec.prefix_tokens)

    def probe(self, words: int, prefix_words: int) -> Request:
        """A request for a single output token, to measure the length of its prompt."""
        prefix = self._shared(prefix_words)
        body = self._serialized(self._body(1, None, self._probes.make(words), prefix))
        return self._request(-1, body, 0, 0)

    def text(self, words: int, prefix_words: int) -> str:
        """The text of a probe, to be counted locally."""
        prefix = self._shared(prefix_words)
        return self._joined(prefix, self._probes.make(words))

    def _shared(self, words: int) -> str:
        return PromptText(Random(f"{self._spec.seed}:prefix:{self._spec.prefix_salt}"), self.units).make(words)

    def _joined(self, prefix: str, prompt: str) -> str:
        return f"{prefix}{self.units.separator}{prompt}" if prefix else prompt

    def _serialized(self, body: dict[str, Any]) -> bytes:
        if self._spec.token_ids:
            body = body | {"prompt": [int(token) for token in body["prompt"].split(",")]}
        return orjson.dumps(body)

    def _request(
        self,
        index: int,
        body: bytes,
        asked_input: int,
        asked_output: int,
        *,
        reused: bool = False,
        keep_text: bool = False,
    ) -> Request:
        payload = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        keep_text = keep_text or (self._spec.tokenizer_json is not None and index >= 0)
        kind = Request if self._spec.stream else WholeAnswer
        request = kind(index, payload, asked_input, asked_output, keep_text=keep_text)
        request.reused = reused
        return request

    def _template(self, output: int) -> tuple[bytes, bytes]:
        found = self._templates.get(output)
        if found is None:
            first, _, last = self._text_template(self._body(output, None, PROMPT)).partition(PROMPT.encode())
            found = self._templates[output] = (first, last)
        return found

    def _text_template(self, body: dict[str, Any]) -> bytes:
        """A serialized body with a place for a prompt; for token IDs, its quotes are brackets."""
        if not self._spec.token_ids:
            return orjson.dumps(body)
        quoted = orjson.dumps(body["prompt"])
        return orjson.dumps(body).replace(quoted, b"[%b]" % quoted[1:-1], 1)

    def _body(self, output: int, messages: Any, prompt: str, prefix: str | None = None) -> dict[str, Any]:
        spec = self._spec
        prefix = self._prefix if prefix is None else prefix
        body: dict[str, Any] = {"model": spec.model}
        if spec.api == "chat":
            system = [{"role": "system", "content": prefix}] if prefix else []
            body["messages"] = system + (messages or [{"role": "user", "content": prompt}])
        else:
            body["prompt"] = self._joined(prefix, prompt)
        if spec.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body[spec.max_tokens_field] = output
        if spec.ignore_eos:
            body["ignore_eos"] = True
        return body | dict(spec.extra_body)


def _cycled(rows: Sequence[Mapping[str, Any]], order: str) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Endless rows, each with whether this server has received its prompt: first in the given order, then repeated in
    random orders."""
    for row in rows:
        yield row, bool(row.get("reused"))
    rng = Random(order)
    left = list(rows)
    while left:
        rng.shuffle(left)
        for row in left:
            yield row, True


def row_prompt(row: Any) -> str:
    """A row's prompt; the completions endpoint takes a conversation as one text."""
    return row.get("prompt") or transcript(row.get("messages") or ())


def _head(spec: WorkerSpec, host: str) -> bytes:
    address = urlsplit(spec.url)
    line = address.path.rstrip("/") + spec.access.path(_PATHS[spec.api])
    headers = {name: value for name, value in spec.headers.items() if name.lower() != "accept"}
    if spec.access.proxy is not None and address.scheme == "http":
        line = f"http://{host}{line}"  # a proxy needs the absolute URL; inside a tunnel the path is enough
        headers |= proxy_headers(spec.access.proxy)
    lines = [
        f"POST {line} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Accept: {'text/event-stream' if spec.stream else 'application/json'}",
        "Accept-Encoding: identity",  # compression would merge chunks
    ]
    for name, value in headers.items():
        if any(c in name + value for c in "\r\n\0"):
            raise ValueError(f"header {name!r} contains a line break")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("latin-1")
