"""Requests whose answers arrive in one piece: generated text without a stream, embeddings, rankings.

Such an answer counts as a single chunk at its end: it has a latency, and no times of tokens.
"""

from typing import Any

import orjson

from autotuner.benchmarks.loadgen.http.request import Request, count_or, error_text, other_text
from autotuner.net.faults import ERROR_IN_200, KEPT_BYTES, Answer, answer_fault

TOO_FEW = "too_few_results"
"""Error of an answer with fewer embeddings or scores than documents were sent."""
_NOT_OPENAI = "the answer is not in OpenAI format"


class WholeAnswer(Request):
    """A request without a stream. :meth:`receive` collects the body of its answer."""

    streams = False
    __slots__ = ("_body", "expected")

    def __init__(self, index: int, payload: bytes, asked_input: int, asked_output: int, *, keep_text: bool) -> None:
        super().__init__(index, payload, asked_input, asked_output, keep_text=keep_text)
        self._body: list[bytes] = []
        self.expected: int | None = None
        """Embeddings or scores that a complete answer holds; None for generated text."""

    def receive(self, body: bytes) -> None:
        """Takes a part of the answer's body."""
        self._body.append(body)

    def close(self, *, complete: bool) -> None:
        """Judges the body."""
        body = b"".join(self._body)
        self._body = []
        if self.error is not None:
            return
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            self._reject(body, complete=complete)
            return
        try:
            self._judge(found)
        except (AttributeError, KeyError, IndexError, TypeError):
            self.fail("bad_response", _NOT_OPENAI)

    def _reject(self, body: bytes, *, complete: bool) -> None:
        if not complete:
            self.fail("cut_stream", f"bytes received: {len(body)}")
        elif not body.strip():
            self.fail("empty")
        else:
            fault = answer_fault(Answer(200, {}, body[:KEPT_BYTES]))
            self.fail(*(fault or ("bad_response", _NOT_OPENAI)))

    def _judge(self, found: Any) -> None:
        if isinstance(found, dict) and (found.get("error") or found.get("object") == "error"):
            self.fail(ERROR_IN_200, f"HTTP 200 with an error: {error_text(found.get('error') or found)}")
            return
        if self.expected is None:
            self._read_text(found)
        else:
            self._read_results(found, self.expected)
        usage = found.get("usage") if isinstance(found, dict) else None
        if usage:
            self.output_tokens = count_or(usage.get("completion_tokens"), None)
            whole = None if self.expected is None else count_or(usage.get("total_tokens"), None)
            self.prompt_tokens = count_or(usage.get("prompt_tokens"), whole)
        self.done = True
        super().close(complete=True)

    def _read_text(self, found: Any) -> None:
        for choice in found["choices"]:
            message = choice.get("message")
            text = choice.get("text") if message is None else message.get("content") or other_text(message)
            if text:
                self.chunks[:] = [self.end_ns]
                self.keep(text, said=message is None or bool(message.get("content")))
            if choice.get("finish_reason"):
                self.finished(choice["finish_reason"])

    def _read_results(self, found: Any, expected: int) -> None:
        """OpenAI and vLLM put embeddings into ``data`` and scores into ``results``; SGLang lists scores directly."""
        listed = found if isinstance(found, list) else found.get("data") or found.get("results") or ()
        results = sum(_is_result(item) for item in listed)
        if results:
            self.chunks[:] = [self.end_ns]
        if results < expected:
            self.fail(TOO_FEW if results else "empty", f"{results} of {expected}")
        if isinstance(found, list):
            counts = [count_or((item.get("meta_info") or {}).get("prompt_tokens"), None) for item in found]
            known = [count for count in counts if count is not None]
            if len(known) == len(counts):
                self.prompt_tokens = sum(known)


def _is_result(item: Any) -> bool:
    score = item.get("relevance_score", item.get("score"))
    return bool(item.get("embedding")) or (isinstance(score, int | float) and not isinstance(score, bool))
