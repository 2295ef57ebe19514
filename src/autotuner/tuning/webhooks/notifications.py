"""Messages for webhooks at the end of a run."""

from collections.abc import Mapping

from autotuner.events.types import StudyFinished
from autotuner.store.webhooks.records import Notification, WebhookEvent
from autotuner.study.spec import StudySpec
from autotuner.tuning.budget import budget_of
from autotuner.tuning.ending import Ending
from autotuner.tuning.stored_summary import Answer

_FINISHED = {"done", "stopped"}
"""An interrupted run is resumed, so the study has not finished."""


def notifications(spec: StudySpec, ended: StudyFinished, answer: Answer) -> list[Notification]:
    """The messages about a run.

    Args:
        spec: The study.
        ended: Its last event.
        answer: What its trials show.
    """
    found: list[tuple[WebhookEvent, Mapping[str, object]]] = []
    if ended.state in _FINISHED:
        end = {"state": ended.state, "ending": ended.ending, "why": ended.why}
        found.append((WebhookEvent.STUDY_FINISHED, end))
    if ended.state == "failed":
        fault = {"why": ended.why, "environment_fault": ended.environment_fault}
        found.append((WebhookEvent.STUDY_FAILED, fault))
    if ended.state == "done" and Ending(ended.ending).proven:
        found.append((WebhookEvent.WINNER_FOUND, _winner(spec, answer)))
    budget = budget_of(ended.why) if ended.state == "done" else None
    if budget is not None:
        found.append((WebhookEvent.BUDGET_USED, {"budget": budget, "why": ended.why}))
    return [
        Notification(kind=kind, study=spec.name, at=ended.at, data={"study": spec.name, **data}) for kind, data in found
    ]


def _winner(spec: StudySpec, answer: Answer) -> dict[str, object]:
    return {
        "ending": answer.ending.value,
        "trial": answer.trial,
        "configuration": answer.configuration,
        "objective": spec.objectives[0].text,
        "value": answer.value,
        "change": answer.change,
    }
