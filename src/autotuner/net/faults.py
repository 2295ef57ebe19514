"""Diagnosis of failed HTTP exchanges: their kind, and the server's message.

Everything that talks to a server uses this module: the load generator, health checks, the lookup of a model's name. It
imports neither pydantic nor an HTTP library, so that the load generator starts quickly.
"""

import json
import re
import socket
import ssl
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from autotuner.plain_text import escaped_line

LONGEST = 300
"""Characters of a server's message that are kept."""
KEPT_BYTES = 16 * 1024
"""Bytes of a response that are searched for its message."""
HIDDEN = "***"
_SHORTEST_SECRET = 4
"""Shorter values are too common in text to be redacted."""

TLS = "tls"
CONNECT = "connect"
NO_HOST = "no_host"
NO_ANSWER = "no_answer"
CLOSED = "closed"
PROXY = "proxy"
HTML = "html"
ERROR_IN_200 = "error_in_200"
NOT_JSON = "not_json"
COMPRESSED = "compressed"
NOT_STREAMING = "not_streaming"
NO_STREAM = "no_stream"

_OK = 200
_DEEPEST = 8
"""Nesting depth that is searched for a message; a response may nest thousands of objects."""
_STREAM_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_MESSAGE_FIELDS = ("message", "detail", "error", "msg", "error_description", "title")
"""Fields in which servers put their message, in order of precedence."""


class Fault(NamedTuple):
    """A failed exchange."""

    kind: str
    """``http_401``, ``tls``, ``connect``, ``html`` ...: stable, because failures are counted by it."""
    message: str
    """One line, without control characters, at most about ``LONGEST`` characters."""


@dataclass(frozen=True)
class Answer:
    """The parts of an HTTP response that its diagnosis needs. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """Its first bytes, as received."""


def answer_fault(answer: Answer, *, asked_stream: bool = False) -> Fault | None:
    """Diagnoses a response.

    Args:
        answer: The response.
        asked_stream: Whether the request asked for a stream and no event arrived; otherwise it asked for JSON.

    Returns:
        None if nothing is wrong.
    """
    body, encoding = _plain_body(answer)
    if answer.status != _OK:
        return Fault(f"http_{answer.status}", _refusal(answer, body))
    if asked_stream and encoding:
        return Fault(COMPRESSED, f"the server compresses its stream ({encoding}): its chunks cannot be timed")
    if _is_html(answer, body):
        return Fault(HTML, f"an HTML page instead of an API response{_quoted(body_message(body))}")
    found = _json(body)
    if isinstance(found, dict) and found.get("error"):
        return Fault(ERROR_IN_200, f"HTTP 200 with an error: {json_message(found)}")
    if asked_stream and _looks_like_json(body):
        return Fault(
            NOT_STREAMING,
            "the server ignored stream: true and sent its response in one piece: TTFT and TPOT cannot be measured",
        )
    if asked_stream and body.strip() and not body.lstrip().startswith(_STREAM_STARTS):
        return Fault(NO_STREAM, f"HTTP 200, but neither a stream nor JSON{_quoted(body_message(body))}")
    if not asked_stream and found is None:
        return Fault(NOT_JSON, f"HTTP 200, but not JSON{_quoted(body_message(body))}")
    return None


def exception_fault(error: BaseException) -> Fault:
    """Diagnoses an exchange that raised an exception instead of getting a response."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Fault(TLS, f"certificate verify failed: {message_line(cause.verify_message or str(cause))}")
        if isinstance(cause, ssl.SSLError):
            return Fault(TLS, _handshake(cause))
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return Fault(NO_HOST, f"the host name cannot be resolved: {message_line(cause.strerror or str(cause))}")
        if isinstance(cause, ConnectionRefusedError):
            return Fault(CONNECT, "connection refused")
    names = {type(cause).__name__ for cause in causes}
    text = message_line(str(error)) or type(error).__name__
    if "ProxyError" in names:
        return Fault(PROXY, f"the proxy refused: {text}")
    if any(isinstance(c, TimeoutError) for c in causes) or any(name.endswith("Timeout") for name in names):
        return Fault(NO_ANSWER, "no response in time")
    if names & {"RemoteProtocolError", "ReadError", "ConnectionResetError", "BrokenPipeError"}:
        return Fault(CLOSED, f"the connection was closed before a response: {text}")
    system = next((c for c in causes if isinstance(c, OSError) and c.strerror), None)
    return Fault(CONNECT, message_line(system.strerror) if system and system.strerror else text)


def body_message(body: bytes) -> str:
    """The message in the body of a response, on one line."""
    text = body.decode(errors="replace").strip()
    found = _json(body)
    if found is not None:
        return json_message(found)
    truncated = re.search(r'"(?:message|detail)"\s*:\s*"((?:[^"\\]|\\.)*)', text)
    if text.startswith(("{", "[")) and truncated:  # the body is longer than what was kept of it
        return message_line(truncated[1])
    title = re.search(r"<(title|h1)[^>]*>(.*?)</\1", text, re.IGNORECASE | re.DOTALL)
    if title:
        return message_line(title[2])
    return message_line(re.sub(r"<[^>]*>", " ", text) if text.startswith("<") else text)


def json_message(found: Any, *, _depth: int = 0) -> str:
    """The message in JSON from a server, in the form of OpenAI, FastAPI, RFC 9457 and others."""
    if _depth > _DEEPEST:
        return "..."
    if isinstance(found, list):
        return message_line("; ".join(json_message(item, _depth=_depth + 1) for item in found[:3]))
    if not isinstance(found, dict):
        return message_line(found if isinstance(found, str) else json.dumps(found))
    message = next((found[name] for name in _MESSAGE_FIELDS if found.get(name)), None)
    if message is None:
        return message_line(_dumped(found))
    where = found.get("loc")
    place = ".".join(str(part) for part in where) + ": " if isinstance(where, list) and where else ""
    return message_line(place + json_message(message, _depth=_depth + 1))


def _dumped(found: dict[str, Any]) -> str:
    try:
        return json.dumps(found, ensure_ascii=False)
    except RecursionError:
        return "..."


def message_line(text: str) -> str:
    """Text on one line of at most ``LONGEST`` characters; control characters are escaped."""
    return escaped_line(text, longest=LONGEST)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Redacts secrets, including the beginning of one where the text was truncated ("...")."""
    known = sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, HIDDEN)
    whole = text.removesuffix("...")
    for secret in known:
        for length in range(min(len(secret), len(whole)), _SHORTEST_SECRET - 1, -1):
            if len(whole) < len(text) and whole.endswith(secret[:length]):
                return whole[:-length] + HIDDEN
    return text


def _refusal(answer: Answer, body: bytes) -> str:
    """``HTTP 401: no key``, with the target of a redirect and the time of a retry."""
    message = body_message(body)
    text = f"HTTP {answer.status}" + (f": {message}" if message else "")
    if location := answer.headers.get("location"):
        text += f" (redirects to {message_line(location.partition('?')[0])})"
    if wait := answer.headers.get("retry-after"):
        text += f" (Retry-After: {message_line(wait)})"
    return text


def _plain_body(answer: Answer) -> tuple[bytes, str]:
    """The decompressed body, empty if that fails, and the name of the compression."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return answer.body, ""
    windows = {"gzip": 31, "x-gzip": 31, "deflate": 15}.get(encoding)
    if windows is None:
        return b"", encoding
    try:
        return zlib.decompressobj(windows).decompress(answer.body, KEPT_BYTES), encoding
    except zlib.error:
        return b"", encoding


def _is_html(answer: Answer, body: bytes) -> bool:
    start = body.lstrip()[:15].lower()
    return start.startswith((b"<!doctype", b"<html")) or "text/html" in answer.headers.get("content-type", "")


def _looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] in {b"{", b"["}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _quoted(message: str) -> str:
    return f": {message}" if message else ""


def _handshake(error: ssl.SSLError) -> str:
    reason = (error.reason or "").upper()
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}:
        return "the server does not speak TLS on this port"
    if "CERTIFICATE_REQUIRED" in reason:
        return "the server requires a client certificate, which is not supported"
    text = reason.replace("_", " ").lower() or message_line(str(error))
    return f"the TLS handshake failed: {text}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, each once."""
    waiting = [error]
    seen = set[int]()
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        waiting += [e for e in (found.__cause__, found.__context__) if e is not None]
