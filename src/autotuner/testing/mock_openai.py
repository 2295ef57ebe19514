"""A small in-process OpenAI-compatible server for tests that records actual times and misbehaves on demand.

The times of every response are taken from the monotonic clock that clients on this machine use as well, so a test can
compare what a load generator reports with what happened.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic_ns
from typing import Any


class Fault(StrEnum):
    """What can go wrong with a response."""

    STATUS = "status"
    """An HTTP error."""
    ERROR_EVENT = "error_event"
    """An error event inside a 200 stream, after half of the tokens."""
    CUT = "cut"
    """The connection is closed after half of the tokens."""
    TRUNCATED = "truncated"
    """The HTTP response ends properly after half of the tokens, without a finish reason or ``[DONE]``."""
    EMPTY = "empty"
    """A valid stream without any token."""
    HANG = "hang"
    """No byte is ever sent."""
    STALL = "stall"
    """Half of the tokens, then nothing."""
    NO_ANSWER = "no_answer"
    """The connection is closed without a response."""
    GARBAGE = "garbage"
    """Bytes that are not HTTP."""
    BAD_JSON = "bad_json"
    """An event that is not JSON."""


@dataclass
class Behavior:
    """How the mock responds. Times in seconds; may be changed while it runs."""

    ttft_s: float = 0.02
    itl_s: float = 0.002
    tokens_per_chunk: int = 1
    tail_s: float = 0.0
    """Pause between the last token and the usage chunk with ``[DONE]``."""
    usage: bool = True
    first: str = "content"
    """Kind of the tokens before the last one: ``content``, ``reasoning``, ``reasoning_content`` or ``tool_calls``."""
    content_after_s: float = 0.0
    """Pause before the content, if ``first`` is another kind."""
    fault: Fault | None = None
    fault_status: int = 500
    fault_when: Callable[[int], bool] = lambda _: True
    """Whether the fault happens, by the number of the request (from 0)."""
    slots: int = 1_000_000
    """Concurrent requests; others wait, as in an engine's queue."""
    keep_alive: bool = True
    missing_results: int = 0
    """Embeddings or scores that the answer to several documents lacks."""
    shorter_by: int = 0
    """Number of output tokens below the requested number."""
    count_prompt: Callable[[str], int] = lambda text: len(text.split())
    """Prompt tokens of a text."""
    template_tokens: int = 5
    """Tokens added to each prompt, as a chat template does."""
    finish: Callable[[int], object] = lambda _: "length"
    """Finish reason by the number of the request (from 0); with None, the stream ends with ``[DONE]`` alone."""
    told_tokens: Callable[[int], int] = lambda tokens: tokens
    """Output tokens reported in ``usage``, by the actual number."""
    told_prompt: Callable[[int], int] = lambda tokens: tokens
    """Prompt tokens reported in ``usage``, by the actual number."""
    echo_headers: bool = False
    """Whether the message of an HTTP error contains the request headers, as with careless servers."""
    newline: str = "\n"


@dataclass
class Truth:
    """What happened to one request; monotonic nanoseconds."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]
    received_ns: int
    sent_ns: list[int] = field(default_factory=list)
    """Times just before each chunk with tokens was written."""

    @property
    def ttft_s(self) -> float:
        """Seconds from the arrival of the request to its first token."""
        return (self.sent_ns[0] - self.received_ns) / 1e9

    @property
    def text(self) -> str:
        """The text of the prompt, or of all documents."""
        if "prompt" in self.body:
            return str(self.body["prompt"])
        if "messages" not in self.body:
            return " ".join(self.documents)
        parts = [m["content"] for m in self.body["messages"]]
        return " ".join(part if isinstance(part, str) else part[0]["text"] for part in parts)

    @property
    def documents(self) -> list[str]:
        """The texts to embed, or the documents to rank, each with its query."""
        given = self.body["input"] if "input" in self.body else self.body["documents"]
        texts = given if isinstance(given, list) else [given]
        return [f"{self.body['query']} {text}" for text in texts] if "query" in self.body else texts


class MockOpenAI:
    """The server; use :func:`mock_openai`."""

    def __init__(self, behavior: Behavior) -> None:
        self.behavior = behavior
        self.log: list[Truth] = []
        self.connections = 0
        self.url = ""
        self._running = 0
        self._freed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            if task is not None:
                self._tasks.discard(task)

    async def close(self) -> None:
        """Ends all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        now = monotonic_ns()
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:] if line)
        }
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        if not head.split()[1].partition("?")[0].endswith(("/completions", "/embeddings", "/rerank")):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        truth = Truth(len(self.log), body, headers, now)
        self.log.append(truth)
        async with self._freed:
            await self._freed.wait_for(lambda: self._running < self.behavior.slots)
            self._running += 1
        try:
            return await _Response(self.behavior, truth, writer).send()
        finally:
            self._running -= 1
            async with self._freed:
                self._freed.notify()


class _Response:
    """One response, including faults."""

    def __init__(self, behavior: Behavior, truth: Truth, writer: asyncio.StreamWriter) -> None:
        self.b = behavior
        self.truth = truth
        self.writer = writer
        self.fault = behavior.fault if behavior.fault_when(truth.number) else None
        self.chat = "messages" in truth.body
        self.requested = int(truth.body.get("max_tokens") or truth.body.get("max_completion_tokens") or 16)

    async def send(self) -> bool:
        """Sends the response; returns whether the connection stays open."""
        b = self.b
        if self.fault is Fault.HANG:
            await asyncio.sleep(3600)
        if self.fault is Fault.NO_ANSWER:
            return False
        if self.fault is Fault.GARBAGE:
            self.writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            return False
        if self.fault is Fault.STATUS:
            message = f"refused {self.truth.headers}" if b.echo_headers else "refused"
            text = json.dumps({"error": {"message": message}}).encode()
            self.writer.write(b"HTTP/1.1 %d Error\r\nContent-Length: %d\r\n\r\n%b" % (b.fault_status, len(text), text))
            return True
        if not self.truth.body.get("stream"):
            return await self._whole()
        close = b"" if b.keep_alive else b"Connection: close\r\n"
        self.writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%bTransfer-Encoding: chunked\r\n\r\n" % close
        )
        if self.chat:
            self._event({"role": "assistant", "content": ""})
        if not await self._tokens():
            return False
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return b.keep_alive

    async def _whole(self) -> bool:
        """An answer in one piece, after the time that a stream of it would take."""
        b = self.b
        generates = self.chat or "prompt" in self.truth.body
        total = max(1, self.requested - b.shorter_by) if generates else 1
        await asyncio.sleep(b.ttft_s + b.itl_s * (total - 1))
        answer = self._text(total) if generates else self._results()
        if self.fault is Fault.ERROR_EVENT:
            answer = {"error": {"message": "out of memory", "code": 500}}
        body = json.dumps(answer).encode() if self.fault is not Fault.BAD_JSON else b"{nonsense"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        if self.fault in (Fault.CUT, Fault.TRUNCATED):
            self.writer.write(head + body[: len(body) // 2])
            await self.writer.drain()
            return False
        self.truth.sent_ns.append(monotonic_ns())
        self.writer.write(head + body)
        await self.writer.drain()
        return b.keep_alive

    def _text(self, total: int) -> dict[str, Any]:
        text = "" if self.fault is Fault.EMPTY else "x " * total
        inner = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        prompt = self.b.told_prompt(self.b.count_prompt(self.truth.text) + self.b.template_tokens)
        usage = {"prompt_tokens": prompt, "completion_tokens": self.b.told_tokens(total)}
        choice = {"index": 0, **inner, "finish_reason": self.b.finish(self.truth.number)}
        return {"choices": [choice], **({"usage": usage} if self.b.usage else {})}

    def _results(self) -> dict[str, Any]:
        documents = self.truth.documents
        places = range(0 if self.fault is Fault.EMPTY else max(0, len(documents) - self.b.missing_results))
        if "query" in self.truth.body:
            found: dict[str, Any] = {"results": [{"index": i, "relevance_score": 1 / (i + 1)} for i in places]}
        else:
            found = {"data": [{"index": i, "embedding": [0.5, 0.25]} for i in places]}
        tokens = sum(self.b.count_prompt(text) + self.b.template_tokens for text in documents)
        return {**found, **({"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if self.b.usage else {})}

    async def _tokens(self) -> bool:
        b = self.b
        total = max(1, self.requested - b.shorter_by) if self.fault is not Fault.EMPTY else 0
        sizes = [b.tokens_per_chunk] * (total // b.tokens_per_chunk)
        if total % b.tokens_per_chunk:
            sizes.append(total % b.tokens_per_chunk)
        due = monotonic_ns() / 1e9 + b.ttft_s
        for number, size in enumerate(sizes):
            if number and number == len(sizes) - 1 and b.first != "content":
                due += b.content_after_s
            await asyncio.sleep(max(0.0, due - monotonic_ns() / 1e9))
            if number and number == (len(sizes) + 1) // 2 and self.fault is not None:
                return await self._break()
            self.truth.sent_ns.append(monotonic_ns())
            self._token("x " * size, last=number == len(sizes) - 1)
            due += b.itl_s
        if b.tail_s:
            await asyncio.sleep(b.tail_s)
        self._event({} if self.chat else None, finish=b.finish(self.truth.number))
        if b.usage:
            prompt = b.told_prompt(b.count_prompt(self.truth.text) + b.template_tokens)
            usage = {"prompt_tokens": prompt, "completion_tokens": b.told_tokens(total)}
            self._data({"choices": [], "usage": usage})
        self._raw("data: [DONE]")
        return True

    async def _break(self) -> bool:
        if self.fault is Fault.STALL:
            await asyncio.sleep(3600)
        if self.fault is Fault.ERROR_EVENT:
            self._data({"error": {"message": "out of memory", "code": 500}})
            self._raw("data: [DONE]")
        if self.fault is Fault.BAD_JSON:
            self._raw("data: {nonsense")
            self._raw("data: [DONE]")
        await self.writer.drain()
        return self.fault in (Fault.TRUNCATED, Fault.ERROR_EVENT, Fault.BAD_JSON)

    def _token(self, text: str, *, last: bool) -> None:
        if not self.chat:
            self._data({"choices": [{"index": 0, "text": text}]})
        elif last or self.b.first == "content":
            self._event({"content": text})
        elif self.b.first == "tool_calls":
            self._event({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
        else:
            self._event({self.b.first: text})

    def _event(self, delta: dict[str, Any] | None, *, finish: object = None) -> None:
        inner = {"text": ""} if delta is None else {"delta": delta}
        self._data({"choices": [{"index": 0, **inner, "finish_reason": finish}]})

    def _data(self, data: dict[str, Any]) -> None:
        self._raw("data: " + json.dumps(data))

    def _raw(self, line: str) -> None:
        text = (line + self.b.newline * 2).encode()
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        self.writer.write(b"%x\r\n%b\r\n" % (len(text), text))


@asynccontextmanager
async def mock_openai(behavior: Behavior | None = None) -> AsyncIterator[MockOpenAI]:
    """Runs the mock on a free port of the loopback interface, in the running asyncio loop."""
    mock = MockOpenAI(behavior or Behavior())
    server = await asyncio.start_server(mock.serve, "127.0.0.1", 0, backlog=4096)
    mock.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield mock
    finally:
        server.close()
        await mock.close()
        await server.wait_closed()
