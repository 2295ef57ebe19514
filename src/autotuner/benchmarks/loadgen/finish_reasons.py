"""Finish reasons: which ones end an answer as asked, and which say that the server broke it off."""

import re
from typing import Any

WHOLE = frozenset({
    "stop", "length", "tool_calls", "function_call",  # OpenAI, vLLM, SGLang, llama.cpp
    "eos", "eos_token", "stop_sequence", "stop_token", "stop_str", "tool_call",  # TGI, LMDeploy, older servers
    "end_turn", "max_tokens", "tool_use", "model_length", "max_length", "complete",  # gateways to other APIs
    "repetition",  # vLLM, only where the request asks for it
})  # fmt: skip
"""Reasons of an answer that came to the end it should have. Every other one is a failure: ``abort``, ``error``,
``content_filter``, ``timeout``, ``cancelled`` and whatever a server may invent."""

MISSING = "finish_missing"
"""An answer without a finish reason from a server that gives one to others."""

_LONGEST = 40


def reason_of(found: Any) -> tuple[str, str]:
    """(reason, message) of a choice's ``finish_reason``; ``("", "")`` where it has none yet.

    SGLang's native form is an object: ``{"type": "abort", "message": "..."}``.
    """
    if isinstance(found, dict):
        return str(found.get("type") or "unknown").lower(), str(found.get("message") or "")
    return (str(found).lower(), "") if found else ("", "")


def failure_of(reason: str) -> str | None:
    """The failure's kind (``finish_abort``), or None where the answer is whole."""
    if reason in WHOLE:
        return None
    return "finish_" + (re.sub(r"[^a-z0-9]+", "_", reason).strip("_")[:_LONGEST] or "unknown")
