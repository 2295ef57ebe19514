"""A request and its response so far, with the rules of what counts as a token."""

from collections.abc import Collection, Iterable
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.http.finish_reasons import MISSING, failure_kind, parse_reason


class Request:
    """One request, from its schedule to the end of its response. Times are monotonic nanoseconds, 0 until reached."""

    streams = True
    """Whether the answer is a stream of events, as opposed to one JSON document."""
    __slots__ = (
        "asked_input",
        "asked_output",
        "chunks",
        "connect_ns",
        "conversation",
        "counted_tokens",
        "detail",
        "documents",
        "done",
        "end_ns",
        "error",
        "finish",
        "finish_detail",
        "in_flight",
        "index",
        "output_tokens",
        "part",
        "payload",
        "prefix",
        "prompt_tokens",
        "ramp",
        "retried",
        "reused",
        "row",
        "scheduled_ns",
        "sent_ns",
        "texts",
        "thoughts",
        "turn",
        "user",
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
        """Time to open the connection, if this request is the first on it; not part of any latency."""
        self.chunks: list[int] = []
        self.texts: list[str] | None = [] if keep_text else None
        self.thoughts: list[int] = []
        """Places of ``texts`` that are not part of the answer itself: reasoning, and calls of tools."""
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        """As reported by the server, plausible or not; see :attr:`usage_tokens`."""
        self.counted_tokens: int | None = None
        """As counted by a local tokenizer, if the server reported nothing plausible."""
        self.finish = ""
        """The finish reason; of several choices, one that failed."""
        self.finish_detail = ""
        self.done = False
        """Whether ``[DONE]`` arrived."""
        self.ramp = False
        """Whether this is a shortened first request of a closed loop."""
        self.retried = False
        self.reused = False
        """Whether this server has received the same prompt before."""
        self.row: int | None = None
        """Place of its row in a dataset; None without a dataset."""
        self.in_flight: int | None = None
        """Requests in flight when this one arrived, itself not counted; None where no level is tested."""
        self.part: int | None = None
        """Place of its kind in a mix; None without a mix."""
        self.documents: int | None = None
        """Texts that are embedded or ranked; None for a prompt."""
        self.prefix: int | None = None
        """Rank of the shared prefix, 0 for the most popular; None if there is at most one."""
        self.user: int | None = None
        """Who sent it; None outside conversations."""
        self.conversation: int | None = None
        """Number of the conversation among those of its user, from 0."""
        self.turn: int | None = None
        """Number of the turn in the conversation, from 0."""
        self.error: str | None = None
        self.detail = ""

    def event(self, kind: bytes, data: bytes, now: int) -> None:
        """Processes one server-sent event.

        Args:
            kind: Type of the event; empty if it has none.
            data: Its data.
            now: When it arrived, in monotonic nanoseconds.
        """
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event = orjson.loads(data)
            error = event.get("error")
            if error is not None or kind == b"error" or event.get("object") == "error":
                self.fail("stream_error", error_text(error if error is not None else event))
                return
            for choice in event.get("choices") or ():
                delta = choice.get("delta")
                text = choice.get("text") if delta is None else delta.get("content") or other_text(delta)
                if text:
                    self.chunks.append(now)
                    if self.texts is not None:  # asked here, because most windows keep no text
                        self.keep(text, said=delta is None or bool(delta.get("content")))
                if choice.get("finish_reason"):
                    self.finished(choice["finish_reason"])
            usage = event.get("usage")
            if usage:
                self.output_tokens = count_or(usage.get("completion_tokens"), self.output_tokens)
                self.prompt_tokens = count_or(usage.get("prompt_tokens"), self.prompt_tokens)
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            self.fail("stream_error", "the stream contains an event that is not in OpenAI format")

    def keep(self, text: str, *, said: bool) -> None:
        """Keeps a part of the answer's text, if that is wanted; ``said``: whether it belongs to the answer itself."""
        if self.texts is not None:
            if not said:
                self.thoughts.append(len(self.texts))
            self.texts.append(text)

    @property
    def answer(self) -> str:
        """The text of the answer, as a client adds it to a conversation; of one without any, all that was kept."""
        texts = self.texts or []
        thoughts = set(self.thoughts)
        said = (text for index, text in enumerate(texts) if index not in thoughts)
        return "".join(said) or "".join(texts)

    def fail(self, error: str, detail: str = "") -> None:
        """Records a failure, unless an earlier one is recorded."""
        if self.error is None:
            self.error = error
            self.detail = detail

    def close(self, *, complete: bool) -> None:
        """Judges the response when it has ended: ``complete`` if by its own end, else because the connection closed."""
        if self.error is None:
            aborted = failure_kind(self.finish) if self.finish else None
            if aborted is not None:
                self.fail(aborted, self.finish_detail or f"chunks received: {len(self.chunks)}")
            elif not (self.done or self.finish):
                if complete and not self.chunks:
                    self.error = "empty"
                else:
                    self.error = "cut_stream"
                    self.detail = f"chunks received: {len(self.chunks)}"
            elif not self.chunks and self.asked_output > 0:
                self.error = "empty"

    @property
    def usage_tokens(self) -> int | None:
        """Output tokens as reported by the server; None if it reported none, or fewer than the chunks with content,
        each of which holds at least one token."""
        reported = self.output_tokens
        return reported if reported is not None and reported > 0 and reported >= len(self.chunks) else None

    @property
    def usage_prompt_tokens(self) -> int | None:
        """Prompt tokens as reported by the server; None if it reported none or 0."""
        return self.prompt_tokens if self.prompt_tokens and self.prompt_tokens > 0 else None

    def finished(self, finish_reason: Any) -> None:
        """Notes the reason why an answer ended; of several, one that means a failure."""
        reason, message = parse_reason(finish_reason)
        if not self.finish or failure_kind(reason) is not None:
            self.finish = reason
            self.finish_detail = message


def gives_reasons(requests: Iterable[Request]) -> bool:
    """Whether the server gave a finish reason for any answer."""
    return any(r.finish for r in requests if r.error is None and r.chunks)


def fail_unfinished(requests: Collection[Request], *, reasons: bool | None = None) -> None:
    """Fails the answers without a finish reason, if the server gives them.

    Some servers never send a finish reason; for them, ``[DONE]`` alone marks a complete answer.

    Args:
        requests: All that have ended.
        reasons: Whether the server gave a reason for any answer of the window, to whichever process; None: for any of
            these.
    """
    if gives_reasons(requests) if reasons is None else reasons:
        for request in requests:
            if request.error is None and request.chunks and request.done and not request.finish:
                request.fail(MISSING, f"chunks received: {len(request.chunks)}")


def count_or(reported: Any, previous: int | None) -> int | None:
    """A token count from usage, or the previous one if it is not an integer."""
    return reported if type(reported) is int else previous  # not isinstance: True is not a count


def other_text(delta: dict[str, Any]) -> str | None:
    """Text of a delta outside ``content`` that consumes output tokens too."""
    text = delta.get("reasoning_content") or delta.get("reasoning") or delta.get("refusal")
    if text:
        return str(text)
    calls = delta.get("tool_calls") or ([delta["function_call"]] if delta.get("function_call") else None)
    return str(orjson.dumps(calls), "utf-8") if calls else None


def error_text(error: Any) -> str:
    """The message of an error object."""
    return str(error.get("message") if isinstance(error, dict) else error)
