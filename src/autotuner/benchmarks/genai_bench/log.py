"""Parser of genai-bench's log, which reports the outcome of each request while genai-bench runs.

The result file has latencies without times, omits answers of one token and requests that raised an exception, and
counts truncated answers as successes. The log at level DEBUG has all of this, from the same variables. Written for
version 0.0.5 (``user/openai_user.py``, ``user/base_user.py``, ``logging.py``) with the urllib3 and locust it uses.
"""

import re
from collections import Counter, deque
from dataclasses import dataclass, field

_HEADER = re.compile(rb"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) +\S+ \S+ - ([\w.]+):(\w+|<\w+>) - (.*)", re.DOTALL)
_ANSWER = re.compile(
    rb"Time at first token: (None|[\d.e+-]+)\s*\nFinish reason: ([^\n]*)\n"
    rb"Prompt Tokens: (None|\d+)\s*\nCompletion Tokens: (\d+)\s*\n"
    rb"Start Time: ([\d.e+-]+)\s*\nEnd Time: ([\d.e+-]+)\s*"
)
_FINISH_TYPE = re.compile(r"'type': '(\w+)'")
_ANSWER_LINES = 6
_ANSWER_END = b"End Time: "
_TEXT = b"Generated text: "
_REFUSED = re.compile(r"Received error response from server\. Error code: (-?\d+), message: (.*)", re.DOTALL)
_RESPONSE = re.compile(rb'"POST \S+ HTTP/[\d.]+" (\d+) ')
_TAIL_LINES = 25
_TAIL_LINE = 1000
_HIDE_FROM = 4
"""Shortest key that is redacted; shorter ones are placeholders such as ``none``."""
_MESSAGE_LINES = 40
_DETAIL = 200


@dataclass(frozen=True)
class Started:
    """A request is about to be sent. The time is that of reading the log, slightly later."""

    at_ns: int


@dataclass(frozen=True)
class Answer:
    """An answer ended without an error. Times are monotonic nanoseconds, read by genai-bench."""

    sent_ns: int
    first_ns: int
    end_ns: int
    finish: str
    """The finish reason; empty if the answer was truncated."""
    prompt_tokens: int | None
    """None if the server reported no usage."""
    output_tokens: int
    """0 if the server reported no usage."""
    text: str = field(default="", repr=False)
    """The answer, if its number of tokens is not known."""


@dataclass(frozen=True)
class Failed:
    """A request failed. The log does not say when it was sent."""

    at_ns: int
    error: str
    detail: str


Event = Started | Answer | Failed


class LogReader:
    """Incremental parser: joins lines into messages and converts messages into events.

    Args:
        secret: Redacted before any text is truncated, because genai-bench logs it and servers may echo it.
    """

    def __init__(self, secret: str | None = None) -> None:
        self._secret = secret.encode() if secret and len(secret) >= _HIDE_FROM else None
        self._rest = b""
        self._message: list[bytes] = []
        self._from = ("", "")
        self._at_ns = 0
        self._answer: list[bytes] = []
        self._running = False
        self._statuses: Counter[int] = Counter()
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)

    @property
    def tail(self) -> str:
        """The last lines of the output, as evidence for a failure."""
        rest = self._rest.replace(self._secret, b"(hidden)") if self._secret is not None else self._rest
        return b"\n".join([*self._tail, rest[:_TAIL_LINE]]).decode(errors="replace").strip()

    def feed(self, data: bytes, now_ns: int) -> list[Event]:
        """Parses output read at ``now_ns`` (monotonic); returns the events that it completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines for event in self._line(line, now_ns)]

    def _line(self, line: bytes, now_ns: int) -> list[Event]:
        if self._secret is not None:
            line = line.replace(self._secret, b"(hidden)")
        self._tail.append(line[:_TAIL_LINE])
        if self._answer:  # the text of a model may look like a log line
            self._answer.append(line)
            return self._answered() if line.startswith(_ANSWER_END) else []
        header = _HEADER.fullmatch(line)
        if header is None:
            if len(self._message) < _MESSAGE_LINES:
                self._message.append(line)
            return []
        events = self._finished()
        origin = (header[1].decode(), header[2].decode())
        text = header[3]
        if origin == ("genai_bench.user.openai_user", "parse_chat_response") and text.startswith(_TEXT):
            self._answer = [text.removeprefix(_TEXT)]
        elif origin == ("genai_bench.benchmark", "benchmark"):
            self._running = self._running or text.startswith(b"Starting benchmark ")
        elif origin == ("urllib3.connectionpool", "_new_conn"):
            if self._running:
                events.append(Started(now_ns))
        elif origin == ("urllib3.connectionpool", "_make_request"):
            status = _RESPONSE.search(text)
            if status is not None and status[1] != b"200":
                self._statuses[int(status[1])] += 1
        else:
            self._from = origin
            self._at_ns = now_ns
            self._message.append(text)
        return events

    def _answered(self) -> list[Event]:
        found = _ANSWER.fullmatch(b"\n".join(self._answer[-_ANSWER_LINES:]))
        if found is None:
            return []
        text = b"\n".join(self._answer[:-_ANSWER_LINES]).removesuffix(b" ")
        self._answer = []
        return _answer(found, text)

    def _finished(self) -> list[Event]:
        """The events of the message that ends before this line."""
        text = b"\n".join(self._message).decode(errors="replace")
        self._message.clear()
        origin = self._from
        self._from = ("", "")
        if origin == ("genai_bench.user.base_user", "collect_metrics"):
            refused = _REFUSED.match(text)
            return [self._refused(int(refused[1]), refused[2].removesuffix("."))] if refused else []
        if origin == ("locust.user.task", "run"):
            return [Failed(self._at_ns, _exception_kind(text), text.split("\n", 1)[0][:_DETAIL])]
        return []

    def _refused(self, code: int, message: str) -> Failed:
        detail = message[:_DETAIL]
        if self._statuses[code] > 0:
            self._statuses[code] -= 1
            return Failed(self._at_ns, f"http_{code}", detail)
        return Failed(self._at_ns, _error_kind(code, message), detail)


def _answer(found: re.Match[bytes], text: bytes) -> list[Event]:
    tokens = int(found[4])
    if found[1] == b"None":
        return []  # an exception follows, which is the failure
    return [
        Answer(
            sent_ns=round(float(found[5]) * 1e9),
            first_ns=round(float(found[1]) * 1e9),
            end_ns=round(float(found[6]) * 1e9),
            finish=_finish(found[2].decode(errors="replace").strip()),
            prompt_tokens=None if found[3] == b"None" else int(found[3]) or None,
            output_tokens=tokens,
            text="" if tokens else text.decode(errors="replace"),
        )
    ]


def _finish(logged: str) -> str:
    """The finish reason from its ``repr``; some servers send an object."""
    if logged == "None":
        return ""
    of_object = _FINISH_TYPE.search(logged)
    return (of_object[1] if of_object else logged).lower()


def _error_kind(code: int, message: str) -> str:
    """The error kind without an HTTP status: genai-bench invents codes for errors of its HTTP client."""
    if code == 408 and message.startswith("Request timed out"):
        return "timeout"
    if message.startswith("Connection error:"):
        if "BadStatusLine" in message:
            return "bad_response"
        return "cut_stream" if "Connection aborted" in message else "connect"
    if any(sign in message for sign in ("Response ended prematurely", "Connection broken", "IncompleteRead")):
        return "cut_stream"
    return "stream_error"


def _exception_kind(text: str) -> str:
    empty = text.startswith(("Invalid streaming response", "response.time_at_first_token is None"))
    return "empty" if empty else "stream_error"
