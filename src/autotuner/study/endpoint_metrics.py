"""Metrics that an endpoint cannot have, so that a goal on one is refused before anything is launched."""

from autotuner.study.workload import Workload

_OF_TURNS = frozenset({"ttft_first_turn", "ttft_later_turns"})
_OF_STREAMS = frozenset({"ttft", "ttft_scheduled", "tpot", "itl", "itl_token"}) | _OF_TURNS
_OF_OUTPUT = frozenset(
    {
        "output_throughput", "output_throughput_per_gpu", "total_throughput", "energy_per_token", "capacity_tokens",
        "cost_per_million_output_tokens",
    }
)  # fmt: skip
_OF_DOCUMENTS = frozenset({"document_throughput"})


def why_not_measured(metric: str, workload: Workload) -> tuple[str, str] | None:
    """Why a workload's requests cannot have a metric, and what to use instead; None if they can."""
    api = workload.api
    if metric in _OF_DOCUMENTS and api.generates:
        return f"requests to api: {api.value} have no documents", "use request_throughput"
    if metric in _OF_OUTPUT and not api.generates:
        return f"answers of api: {api.value} have no output tokens", "use request_throughput or document_throughput"
    if metric in _OF_STREAMS and not workload.streams:
        latency = "e2e_latency_scheduled" if metric.endswith("_scheduled") else "e2e_latency"
        if not api.generates:
            return f"answers of api: {api.value} arrive in one piece", f"use {latency}"
        return "with stream: false, answers arrive in one piece", f"use {latency}, or remove stream: false"
    if metric in _OF_TURNS and not any(scenario.conversations for scenario in workload.scenarios):
        return "no scenario is a conversation", "use ttft, or add turns to the scenario, e.g. turns=U(2,6)"
    return None
