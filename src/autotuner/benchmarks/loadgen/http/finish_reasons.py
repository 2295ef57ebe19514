"""Finish reasons: which ones mark a complete answer, and which ones mean that the server aborted it."""

import re
from typing import Any

COMPLETE = frozenset({
    "stop", "length", "tool_calls", "function_call",  # OpenAI, vLLM, SGLang, llama.cpp
    "eos", "eos_token", "stop_sequence", "stop_token", "stop_str", "tool_call",  # TGI, LMDeploy, older servers
    "end_turn", "max_tokens", "tool_use", "model_length", "max_length", "complete",  # gateways to other APIs
    "repetition",  # vLLM, only if the request enables it
})  # fmt: skip
"""Reasons of a complete answer. Every other one is a failure: ``abort``, ``error``, ``content_filter``, ``timeout``,
``cancelled`` and any that a server defines itself."""

MISSING = "finish_missing"
"""Failure of an answer without a finish reason, from a server that gives one for other answers."""

_LONGEST = 40


def parse_reason(found: Any) -> tuple[str, str]:
    """Splits a choice's ``finish_reason`` into reason and message; both are empty if it is null.

    SGLang's native API sends an object: ``{"type": "abort", "message": "..."}``.
    """
    if isinstance(found, dict):
        return str(found.get("type") or "unknown").lower(), str(found.get("message") or "")
    return (str(found).lower(), "") if found else ("", "")


def failure_kind(reason: str) -> str | None:
    """The error kind of a finish reason, such as ``finish_abort``; None if the answer is complete."""
    if reason in COMPLETE:
        return None
    return "finish_" + (re.sub(r"[^a-z0-9]+", "_", reason).strip("_")[:_LONGEST] or "unknown")
