"""Which scenarios and settings of ``workload`` an endpoint takes."""

from collections.abc import Sequence

from autotuner.invalid_value import InvalidValueError
from autotuner.study.workload import Api, Scenario

_SCENARIO_OF = {Api.EMBEDDINGS: "E(tokens)", Api.RERANK: "R(document,query)"}


def check_endpoint_scenarios(api: Api, scenarios: Sequence[Scenario]) -> None:
    """Raises ``ValueError`` if the endpoint cannot take a scenario."""
    for scenario in scenarios:
        wanted = _api_of(scenario)
        if wanted is not None and wanted is not api:
            raise InvalidValueError(f"{scenario.text} is sent to another endpoint", remedy=f"add api: {wanted.value}")
        if wanted is None and not api.generates:
            why = f"api: {api.value} cannot take {scenario.text}"
            raise InvalidValueError(why, remedy=f"use {_SCENARIO_OF[api]}, or remove api: {api.value}")


def check_endpoint_settings(api: Api, *, prefix_tokens: int) -> None:
    """Raises ``ValueError`` for settings that an endpoint's requests have no place for."""
    if prefix_tokens and not api.generates:
        raise InvalidValueError(f"api: {api.value} has no shared prefix", remedy="remove prefix_tokens")


def check_token_ids(api: Api, scenarios: Sequence[Scenario]) -> None:
    """Raises ``ValueError`` if prompts cannot be sent as token IDs."""
    if api is not Api.COMPLETIONS:
        raise InvalidValueError(f"api: {api.value} takes no token IDs", remedy="add api: completions")
    datasets = [part.text for scenario in scenarios for part in scenario.parts if part.dataset]
    if datasets:
        raise InvalidValueError(f"the prompts of {datasets[0]} are text", remedy="remove token_ids")
    if any(scenario.conversations for scenario in scenarios):
        raise InvalidValueError("the answers in a conversation are text", remedy="remove token_ids")


def _api_of(scenario: Scenario) -> Api | None:
    if scenario.images is not None:
        return Api.CHAT
    if scenario.documents is None:
        return None
    return Api.EMBEDDINGS if scenario.documents.query_tokens is None else Api.RERANK
