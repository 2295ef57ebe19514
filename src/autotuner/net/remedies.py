"""Remedies for failed HTTP exchanges, in terms of a study file or of ``autotuner bench``."""

import re
from dataclasses import dataclass

from autotuner.net.faults import (
    CLOSED,
    COMPRESSED,
    CONNECT,
    HTML,
    NO_ANSWER,
    NO_HOST,
    NO_STREAM,
    NOT_JSON,
    NOT_STREAMING,
    PROXY,
    TLS,
    Fault,
)

_LENGTHS = re.compile(
    r"context (length|size|window)|max_model_len|too (long|large|many tokens)|exceed.*(token|context|length)"
)
"""Messages about prompt or output lengths from vLLM, SGLang, llama.cpp, TensorRT-LLM and gateways."""


@dataclass(frozen=True)
class Options:
    """Names of the settings that fix a failure: keys of a study file, or options of ``autotuner bench``."""

    key: str = "set deploy.api_key_env (or benchmark.api_key_env) to the name of the variable that holds it"
    url: str = "deploy.url"
    model: str = "engine.served_model_name or model"
    ca_file: str = "deploy.ca_file"
    insecure: str = "deploy.insecure: true"
    ignore_eos: str = "workload.ignore_eos: false"
    max_tokens_field: str = "benchmark.max_tokens_field: max_completion_tokens"
    extra_body: str = "workload.extra_body"
    lengths: str = "workload.scenarios"
    request_timeout: str = "workload.request_timeout"


STUDY = Options()
BENCH = Options(
    key="pass the name of the variable that holds it with --api-key-env",
    url="the URL",
    model="--model",
    ca_file="--ca-file",
    insecure="--insecure",
    ignore_eos="--no-ignore-eos",
    max_tokens_field="--max-tokens-field max_completion_tokens",
    extra_body="--extra-body",
    lengths="--scenario",
    request_timeout="--request-timeout",
)


def remedy_for(fault: Fault, options: Options = STUDY) -> str:
    """The remedy for a fault, with the names of settings from ``options``."""
    kind = fault.kind
    text = fault.message.lower()
    if kind == TLS:
        return _tls_remedy(text, options)
    if kind in {CONNECT, NO_HOST, NO_ANSWER}:
        return f"start the server, or correct {options.url}"
    if kind == "timeout":
        return f"reduce the load, or increase {options.request_timeout}"
    if kind == CLOSED:
        return f"read the server's log; a TLS server needs https:// in {options.url}"
    if kind == PROXY:
        return "check the proxy, or add the server's host to NO_PROXY"
    if kind in {HTML, NOT_JSON, NO_STREAM}:
        return f"correct the path in {options.url}: this is a web page or a proxy, not the API"
    if kind in {NOT_STREAMING, COMPRESSED}:
        return "enable streaming (or disable compression) in the server or its gateway"
    return _status_remedy(kind.removeprefix("http_"), text, options)


def _status_remedy(status: str, text: str, options: Options) -> str:
    """The remedy for an error status. The text counts before the status, because servers disagree about the latter."""
    if status in {"401", "403"}:
        return f"the server requires {'a' if status == '401' else 'another'} key: {options.key}"
    if status == "429":
        return "reduce the load, or raise the server's limit on requests"
    if "ignore_eos" in text:
        return f"use {options.ignore_eos}"
    if "max_completion_tokens" in text:
        return f"use {options.max_tokens_field}"
    if _LENGTHS.search(text):
        return f"check the lengths in {options.lengths} against the server's context size"
    if status == "404":
        if "model" in text:
            return f"correct the model's name ({options.model}); GET /v1/models lists what the server has"
        return f"correct the path in {options.url}: it is the part before /v1"
    if status.startswith("3"):
        return f"use the target of the redirect in {options.url}; redirects are not followed"
    if status in {"400", "422"}:
        return f"correct the request fields ({options.extra_body}) that the server's message names"
    if status == "405":
        return f"correct the path in {options.url}"
    if status in {"502", "503", "504"}:
        return "the gateway has no server, or the server is not ready: read its log"
    return "read the server's log"


def _tls_remedy(text: str, options: Options) -> str:
    if "does not speak tls" in text:
        return f"use http:// in {options.url}"
    skip = f"or skip the check with {options.insecure}"
    if "expired" in text or "not yet valid" in text:
        return f"renew the certificate (or correct the clock), {skip}"
    if "mismatch" in text or "not valid for" in text:
        return f"use a host name of the certificate in {options.url}, {skip}"
    if "certificate verify failed" in text:
        return f"set the certificate to trust with {options.ca_file} or SSL_CERT_FILE, {skip}"
    return f"check the server's TLS settings and the port in {options.url}"
