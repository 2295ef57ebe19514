"""Messages for webhooks about the run of a study."""

import time
from collections.abc import Mapping

from autotuner.events.types import Notice, StudyFinished
from autotuner.store.webhooks.records import Notification, WebhookEvent
from autotuner.study.spec import StudySpec
from autotuner.tuning.budget import budget_of, limit_of
from autotuner.tuning.ending import Ending
from autotuner.tuning.stored_summary import Answer

_FINISHED = {"done", "stopped"}
"""An interrupted run is resumed, so the study has not finished."""


def notifications(spec: StudySpec, ended: StudyFinished, answer: Answer) -> list[Notification]:
    """The messages at the end of a run.

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
        found.append((WebhookEvent.STUDY_FAILED, _fault(ended.why, environment=ended.environment_fault)))
    if ended.state == "done" and Ending(ended.ending).proven:
        found.append((WebhookEvent.WINNER_FOUND, _winner(spec, answer)))
    return [_about(spec.name, kind, ended.at, data) for kind, data in found]


def not_run(study: str, why: str, *, environment_fault: bool) -> tuple[Notice, list[Notification]]:
    """The event and the messages about a study that could not be run, and keeps the answer that it had."""
    notice = Notice(study=study, text=f"not run: {why}")
    fault = _fault(why, environment=environment_fault)
    return notice, [_about(study, WebhookEvent.STUDY_FAILED, notice.at, fault)]


def budget_used(study: str, why: str) -> Notification:
    """The message about a search that has used up a budget; its proof may follow."""
    return _about(study, WebhookEvent.BUDGET_USED, time.time(), {"budget": budget_of(why), "why": why})


def is_about_budget(data: Mapping[str, object], why: str) -> bool:
    """Whether the data of such a message is about the budget for which the search has ended: the one with the same
    limit, however much of it was left."""
    return limit_of(str(data["why"])) == limit_of(why)


def _about(study: str, kind: WebhookEvent, at: float, data: Mapping[str, object]) -> Notification:
    return Notification(kind=kind, study=study, at=at, data={"study": study, **data})


def _fault(why: str, *, environment: bool | None) -> Mapping[str, object]:
    return {"why": why, "environment_fault": environment}


def _winner(spec: StudySpec, answer: Answer) -> dict[str, object]:
    return {
        "ending": answer.ending.value,
        "trial": answer.trial,
        "configuration": answer.configuration,
        "objective": spec.objectives[0].text,
        "value": answer.value,
        "change": answer.change,
    }
