"""Diagnosis of failed HTTP exchanges, and their remedies."""

import gzip
import json
import re
import socket
import ssl
from dataclasses import fields
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.net.faults import (
    LONGEST,
    Answer,
    Fault,
    answer_fault,
    body_message,
    exception_fault,
    json_message,
    without_secrets,
)
from autotuner.net.remedies import BENCH, Options, remedy_for


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no key", "type": "x", "code": null}}', "no key"),
        (b'{"error": "no key"}', "no key"),
        (b'{"object": "error", "message": "no key"}', "no key"),
        (b'{"detail": "no key"}', "no key"),
        (b'{"detail": [{"loc": ["body", "temperature"], "msg": "not a number"}]}', "body.temperature: not a number"),
        (b'{"title": "no key", "status": 401}', "no key"),
        (b'{"code": 7}', '{"code": 7}'),
        (b'["no key", "really"]', "no key; really"),
        (b"no\n  key\r\n", "no key"),
        (b"<html><head><title>401 Authorization\nRequired</title></head><body>x</body>", "401 Authorization Required"),
        (b"<p>no <b>key</b></p>", "no key"),
        (b"no \x1b[31mkey\x07", "no \\x1b[31mkey\\x07"),
        (b'{"error": {"message": "cut in the mid', "cut in the mid"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_message_of_a_server(body: bytes, message: str) -> None:
    assert body_message(body) == message


@given(st.binary(max_size=600), st.text(max_size=600))
def test_message_is_one_short_printable_line(body: bytes, text: str) -> None:
    for found in (body_message(body), json_message(text), json_message({"error": {"message": text}})):
        assert len(found) <= LONGEST
        assert found.isprintable()


@pytest.mark.parametrize(
    ("answer", "stream", "kind"),
    [
        (Answer(401, {}, b"{}"), False, "http_401"),
        (Answer(429, {"retry-after": "20"}, b""), True, "http_429"),
        (Answer(307, {"location": "https://other/v1?key=s3cret"}, b""), False, "http_307"),
        (Answer(200, {}, b'{"data": []}'), False, None),
        (Answer(200, {}, b'{"error": {"message": "overloaded"}}'), False, "error_in_200"),
        (Answer(200, {}, b'{"error": {"message": "overloaded"}}'), True, "error_in_200"),
        (Answer(200, {}, b'{"choices": [{"message": {"content": "a"}}]}'), True, "not_streaming"),
        (Answer(200, {"content-type": "text/html; charset=utf-8"}, b"hello"), False, "html"),
        (Answer(200, {}, b"\n<!DOCTYPE html><title>Open WebUI</title>"), True, "html"),
        (Answer(200, {}, b"hello"), False, "not_json"),
        (Answer(200, {}, b"hello"), True, "no_stream"),
        (Answer(200, {}, b"data: {half an event"), True, None),
        (Answer(200, {}, b": ping\n\n"), True, None),
        (Answer(200, {}, b""), True, None),
        (Answer(200, {"content-encoding": "gzip"}, gzip.compress(b"data: {}\n\n")), True, "compressed"),
        (Answer(200, {"content-encoding": "br"}, b"\x8b\x02"), True, "compressed"),
    ],
)
def test_kind_of_a_response(answer: Answer, stream: bool, kind: str | None) -> None:
    found = answer_fault(answer, asked_stream=stream)
    assert (found.kind if found else None) == kind
    assert found is None or "s3cret" not in found.message


def test_compressed_error_is_read() -> None:
    body = gzip.compress(json.dumps({"error": {"message": "no key"}}).encode())
    found = answer_fault(Answer(401, {"content-encoding": "gzip"}, body))
    assert found == Fault("http_401", "HTTP 401: no key")
    bomb = gzip.compress(b"x" * 100_000_000)
    found = answer_fault(Answer(500, {"content-encoding": "gzip"}, bomb))
    assert found is not None
    assert len(found.message) < LONGEST + 50


def test_message_contains_retry_and_redirect() -> None:
    late = answer_fault(Answer(429, {"retry-after": "20"}, b'{"error": "slow down"}'))
    away = answer_fault(Answer(308, {"location": "https://new.example/v1"}))
    assert late is not None
    assert away is not None
    assert "slow down" in late.message
    assert "Retry-After: 20" in late.message
    assert "https://new.example/v1" in away.message


def _nested(*errors: BaseException) -> BaseException:
    for outer, inner in pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


def _certificate(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {message} (_ssl.c:1)")
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (_nested(httpx.ConnectError("x"), _certificate("self-signed certificate")), "tls", "self-signed"),
        (_certificate("certificate has expired"), "tls", "expired"),
        (ConnectionRefusedError(111, "Connection refused"), "connect", "refused"),
        (
            _nested(
                httpx.ConnectError("All connection attempts failed"), OSError("all"), ConnectionRefusedError(111, "")
            ),
            "connect",
            "refused",
        ),
        (
            ExceptionGroup("x", [ConnectionRefusedError(111, ""), OSError(113, "No route to host")]),
            "connect",
            "refused",
        ),
        (OSError(113, "No route to host"), "connect", "No route to host"),
        (_nested(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known")), "no_host", "Name or"),
        (httpx.ReadTimeout(""), "no_answer", ""),
        (TimeoutError(), "no_answer", ""),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), "closed", "disconnected"),
        (httpx.ProxyError("403 Forbidden"), "proxy", "403"),
        (RuntimeError(), "connect", "RuntimeError"),
    ],
)
def test_kind_of_an_exception(error: BaseException, kind: str, detail: str) -> None:
    found = exception_fault(error)
    assert found.kind == kind
    assert detail in found.message


MARKED = Options(**{field.name: f"<{field.name}>" for field in fields(Options)})
"""Settings whose names are recognized in any remedy."""


@pytest.mark.parametrize(
    ("fault", "settings"),
    [
        (Fault("http_400", "Field 'temperature': must be number"), {"extra_body"}),
        (Fault("http_400", "This model's maximum context length is 4096 tokens"), {"lengths"}),
        (Fault("http_400", "The input (900 tokens) is longer than the model's context length"), {"lengths"}),
        (Fault("http_400", "the request exceeds the available context size"), {"lengths"}),
        (Fault("http_429", "rate limit exceeded: tokens per minute"), set()),
        (Fault("http_400", "Unrecognized request argument supplied: ignore_eos"), {"ignore_eos"}),
        (Fault("http_400", "Use 'max_completion_tokens' instead"), {"max_tokens_field"}),
        (Fault("http_401", "no key"), {"key"}),
        (Fault("http_404", "The model `x` does not exist."), {"model"}),
        (Fault("http_404", "Not Found"), {"url"}),
        (Fault("http_500", "internal"), set()),
        (Fault("tls", "certificate verify failed: self-signed certificate"), {"ca_file", "insecure"}),
        (Fault("tls", "certificate verify failed: certificate has expired"), {"insecure"}),
        (Fault("tls", "certificate verify failed: IP address mismatch"), {"url", "insecure"}),
        (Fault("tls", "the server does not speak TLS on this port"), {"url"}),
        (Fault("timeout", "no complete answer in 5 s"), {"request_timeout"}),
    ],
)
def test_remedy_names_the_settings_to_change(fault: Fault, settings: set[str]) -> None:
    assert set(re.findall(r"<(\w+)>", remedy_for(fault, MARKED))) == settings


@pytest.mark.parametrize(
    ("fault", "option"),
    [
        (Fault("http_401", ""), "--api-key-env"),
        (Fault("tls", "certificate verify failed: self-signed certificate"), "--ca-file"),
        (Fault("http_400", "unknown field ignore_eos"), "--no-ignore-eos"),
        (Fault("http_400", "use max_completion_tokens"), "--max-tokens-field"),
        (Fault("http_400", "bad field"), "--extra-body"),
    ],
)
def test_remedy_for_bench_names_its_options(fault: Fault, option: str) -> None:
    advice = remedy_for(fault, BENCH)
    assert option in advice
    assert "deploy." not in advice


@pytest.mark.parametrize("cut", range(1, 25))
def test_secret_is_redacted_even_if_truncated(cut: int) -> None:
    secret = "sk-0123456789-abcdefghij"
    text = f"wrong key {secret[:cut]}" + ("..." if cut < len(secret) else " given")
    assert secret[:5] not in without_secrets(text, [secret])


@pytest.mark.parametrize("nest", ['{"error":', '{"x":', "["])
def test_deep_nesting_is_harmless(nest: str) -> None:
    assert body_message((nest * 1700).encode())
    closing = "}" if nest.startswith("{") else "]"
    for depth in (5, 100, 900, 1700):
        assert body_message((nest * depth + '"x"' + closing * depth).encode())
