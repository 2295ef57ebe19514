"""User-visible wordings of failed HTTP exchanges, their remedies, and invalid addresses."""

import gzip
import socket
import ssl
from collections.abc import Callable

import httpx
import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.net import faults
from autotuner.net.faults import Answer, Fault, answer_fault, exception_fault
from autotuner.net.proxies import proxy_for
from autotuner.net.remedies import BENCH, STUDY, remedy_for
from autotuner.net.target import check_header, expanded, parse_header, parse_target

FAULTS = [
    *(Fault(kind, "") for kind in (faults.CONNECT, "timeout", faults.CLOSED, faults.PROXY, faults.HTML)),
    *(Fault(kind, "") for kind in (faults.NOT_STREAMING, "http_302", "http_401", "http_403", "http_404", "http_405")),
    *(Fault(kind, "") for kind in ("http_422", "http_429", "http_500", "http_503", faults.TLS)),
    Fault("http_400", "unknown field ignore_eos"),
    Fault("http_400", "use max_completion_tokens"),
    Fault("http_400", "maximum context length is 4096 tokens"),
    Fault("http_404", "the model x does not exist"),
    Fault("tls", "the server does not speak TLS on this port"),
    Fault("tls", "certificate verify failed: self-signed certificate"),
    Fault("tls", "certificate verify failed: certificate has expired"),
    Fault("tls", "certificate verify failed: IP address mismatch"),
]


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1)")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize("options", [STUDY, BENCH], ids=["study", "bench"])
def test_remedies(options: object, snapshot: SnapshotAssertion) -> None:
    assert [f"{fault.kind}: {remedy_for(fault, options)}" for fault in FAULTS] == snapshot  # type: ignore[arg-type]


def test_responses(snapshot: SnapshotAssertion) -> None:
    answers = [
        (Answer(401, {}, b"{}"), False),
        (Answer(429, {"retry-after": "20"}, b'{"error": "slow down"}'), False),
        (Answer(308, {"location": "https://new.example/v1"}), False),
        (Answer(200, {}, b'{"error": {"message": "overloaded"}}'), False),
        (Answer(200, {}, b'{"choices": []}'), True),
        (Answer(200, {}, b"<!DOCTYPE html><title>Open WebUI</title>"), True),
        (Answer(200, {}, b"hello"), False),
        (Answer(200, {}, b"hello"), True),
        (Answer(200, {"content-encoding": "gzip"}, gzip.compress(b"data: {}")), True),
    ]
    found = [answer_fault(answer, asked_stream=stream) for answer, stream in answers]
    assert [fault and f"{fault.kind}: {fault.message}" for fault in found] == snapshot


def test_exceptions(snapshot: SnapshotAssertion) -> None:
    errors = [
        certificate_error(),
        ConnectionRefusedError(111, "Connection refused"),
        socket.gaierror(-2, "Name or service not known"),
        TimeoutError(),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ProxyError("403 Forbidden"),
        RuntimeError(),
    ]
    assert [f"{fault.kind}: {fault.message}" for fault in map(exception_fault, errors)] == snapshot


@pytest.mark.parametrize(
    "call",
    [
        lambda: parse_target("ftp://h"),
        lambda: parse_target("http://h/ x"),
        lambda: expanded("${KEY}", {}),
        lambda: check_header("a b", "x"),
        lambda: check_header("Host", "x"),
        lambda: check_header("X", "a\x00"),
        lambda: parse_header("X-Team"),
        lambda: proxy_for("https://host", {"HTTPS_PROXY": "http://"}),
        lambda: proxy_for("https://host", {"HTTPS_PROXY": "ftp://hunter2@proxy:21"}),
    ],
    ids=[
        "scheme",
        "space",
        "variable",
        "header name",
        "managed header",
        "header value",
        "header option",
        "empty proxy",
        "proxy scheme",
    ],
)
def test_invalid_values(call: Callable[[], object], snapshot: SnapshotAssertion) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        call()
    assert str(caught.value) == snapshot
