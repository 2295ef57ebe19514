"""One request and what has come back of it. The rules of what counts as a token are here."""

from collections.abc import Iterable
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.finish_reasons import MISSING, failure_of, reason_of

NO_LIST: tuple[()] = ()


class Request:
    """One request's life. Times are monotonic nanoseconds; 0 where it has not happened."""

    __slots__ = (
        "asked_input",
        "asked_output",
        "chunks",
        "connect_ns",
        "counted_tokens",
        "detail",
        "done",
        "end_ns",
        "error",
        "finish",
        "finish_detail",
        "index",
        "output_tokens",
        "payload",
        "prompt_tokens",
        "ramp",
        "retried",
        "reused",
        "scheduled_ns",
        "sent_ns",
        "texts",
    )

    def __init__(self, index: int, payload: bytes, asked_input: int, asked_output: int, *, keep_text: bool) -> None:
        self.index = index
        self.payload = payload
        self.asked_input = asked_input
        self.asked_output = asked_output
        self.scheduled_ns = 0
        self.sent_ns = 0
        self.end_ns = 0
        self.connect_ns = 0
        """Set-up time of the connection, when this request is the first on it; outside of every latency."""
        self.chunks: list[int] = []
        self.texts: list[str] | None = [] if keep_text else None
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        """By the server's usage, whether it is to be believed or not; see :attr:`usage_tokens`."""
        self.counted_tokens: int | None = None
        """By a local tokenizer, where the server told nothing."""
        self.finish = ""
        """The finish reason; of several choices the one that went wrong."""
        self.finish_detail = ""
        self.done = False
        """``[DONE]`` came."""
        self.ramp = False
        self.retried = False
        self.reused = False
        """Its prompt was sent to this server before."""
        self.error: str | None = None
        self.detail = ""

    def event(self, kind: bytes, data: bytes, now: int) -> None:
        """Takes in one event that arrived at ``now``."""
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event = orjson.loads(data)
            error = event.get("error")
            if error is not None or kind == b"error" or event.get("object") == "error":
                self.fail("stream_error", _message(error if error is not None else event))
                return
            for choice in event.get("choices") or NO_LIST:
                delta = choice.get("delta")
                text = choice.get("text") if delta is None else delta.get("content") or _other(delta)
                if text:
                    self.chunks.append(now)
                    if self.texts is not None:
                        self.texts.append(text)
                if choice.get("finish_reason"):
                    self._finish(choice["finish_reason"])
            usage = event.get("usage")
            if usage:
                self.output_tokens = _count(usage.get("completion_tokens"), self.output_tokens)
                self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            self.fail("stream_error", "an event of the stream is not in the OpenAI form")

    def fail(self, error: str, detail: str = "") -> None:
        """Names the first thing that went wrong."""
        if self.error is None:
            self.error = error
            self.detail = detail

    def close(self, *, complete: bool) -> None:
        """The answer has ended: by its own end (``complete``) or because the connection did."""
        if self.error is None:
            broken = failure_of(self.finish) if self.finish else None
            if broken is not None:
                self.fail(broken, self.finish_detail or f"after {len(self.chunks)} chunks")
            elif not (self.done or self.finish):
                if complete and not self.chunks:
                    self.error = "empty"
                else:
                    self.error = "cut_stream"
                    self.detail = f"after {len(self.chunks)} chunks"
            elif not self.chunks and self.asked_output > 0:
                self.error = "empty"

    @property
    def usage_tokens(self) -> int | None:
        """Output tokens by the server's usage; None where there is none or where it contradicts the stream: every
        chunk with content holds at least one token."""
        told = self.output_tokens
        return told if told is not None and told > 0 and told >= len(self.chunks) else None

    @property
    def usage_prompt_tokens(self) -> int | None:
        """Prompt tokens by the server's usage; None where there is none or where it says 0."""
        return self.prompt_tokens if self.prompt_tokens and self.prompt_tokens > 0 else None

    def _finish(self, found: Any) -> None:
        reason, message = reason_of(found)
        if not self.finish or failure_of(reason) is not None:
            self.finish = reason
            self.finish_detail = message


def fail_unfinished(requests: Iterable[Request]) -> None:
    """Fails the answers that ended with ``[DONE]`` alone where the server gives a finish reason to other ones.

    Some servers never send a finish reason; there the end of the stream is all there is to go by.
    """
    ended = [r for r in requests if r.error is None and r.chunks]
    if any(r.finish for r in ended):
        for request in ended:
            if request.done and not request.finish:
                request.fail(MISSING, f"after {len(request.chunks)} chunks")


def _count(found: Any, before: int | None) -> int | None:
    """A count of tokens from usage, or the one before where it is not a whole number."""
    return found if type(found) is int else before


def _other(delta: dict[str, Any]) -> str | None:
    """Text of a delta that is not content but costs tokens all the same."""
    text = delta.get("reasoning_content") or delta.get("reasoning") or delta.get("refusal")
    if text:
        return str(text)
    calls = delta.get("tool_calls") or ([delta["function_call"]] if delta.get("function_call") else None)
    return str(orjson.dumps(calls), "utf-8") if calls else None


def _message(error: Any) -> str:
    found = error.get("message") if isinstance(error, dict) else error
    return str(found)
