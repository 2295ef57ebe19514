"""The store as Prometheus metrics."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from autotuner import StoreTotals, StudyOverview
from autotuner.study.metric import Direction

_STANDINGS = ("new", "queued", "running", "cut off", "done", "stopped", "interrupted", "failed")
_TRIAL_STATES = ("running", "done", "failed", "void")
_WORKER_STATES = ("running", "draining", "lost")
_LEASES = ("gpu", "port")
_MESSAGES = ("waiting", "delivered", "dead")


def families(totals: StoreTotals, running: Sequence[StudyOverview]) -> Iterable[Metric]:
    """The metrics of everything that the servers of a database have in common."""
    yield _by_label(
        "autotuner_studies", "Stored studies by state, as autotuner list shows it.", "state", _STANDINGS, totals.studies
    )
    yield _trials(totals)
    yield GaugeMetricFamily("autotuner_queue_length", "Studies that wait for a worker.", totals.queued)
    yield GaugeMetricFamily(
        "autotuner_queue_oldest_age_seconds",
        "How long the oldest waiting study has been in the queue; 0 if none waits.",
        totals.oldest_queued_s,
    )
    yield GaugeMetricFamily(
        "autotuner_queue_without_worker",
        "Waiting studies that no running worker can run: none has their labels, or all have left them to others.",
        totals.queued_without_worker,
    )
    yield from _workers(totals)
    yield _by_label("autotuner_leases", "GPUs and ports that running trials hold.", "kind", _LEASES, totals.leases)
    yield _by_label(
        "autotuner_webhook_messages",
        "Messages for webhooks by state; delivered ones are kept for 7 days, dead ones for 30.",
        "state",
        _MESSAGES,
        totals.messages,
    )
    yield from _running_studies(running)


def _by_label(name: str, text: str, label: str, known: Sequence[str], counts: Mapping[str, int]) -> Metric:
    """One value for each known one, also if it is 0: a series that comes and goes cannot be compared with before."""
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value in dict.fromkeys((*known, *counts)):
        family.add_metric((value,), counts.get(value, 0))
    return family


def _trials(totals: StoreTotals) -> Metric:
    family = GaugeMetricFamily(
        "autotuner_trials",
        "Stored trials by state, failed and void ones by cause; fewer after a study was deleted.",
        labels=("state", "cause"),
    )
    counts = {(state, ""): 0 for state in _TRIAL_STATES} | {(t.state, t.cause): t.count for t in totals.trials}
    for key, count in counts.items():
        family.add_metric(key, count)
    return family


def _workers(totals: StoreTotals) -> Iterable[Metric]:
    alive = [worker for worker in totals.workers if worker.state != "lost"]
    counts = {state: sum(w.state == state for w in totals.workers) for state in _WORKER_STATES}
    yield _by_label(
        "autotuner_workers",
        "Workers by state; lost ones ended without saying so within the last hour.",
        "state",
        _WORKER_STATES,
        counts,
    )
    yield GaugeMetricFamily(
        "autotuner_workers_busy", "Workers that are alive and run a study.", sum(w.studies > 0 for w in alive)
    )
    yield GaugeMetricFamily(
        "autotuner_worker_slots", "Studies that all living workers can run at once.", sum(w.at_most for w in alive)
    )
    yield GaugeMetricFamily(
        "autotuner_worker_slots_busy", "Studies that living workers run.", sum(w.studies for w in alive)
    )
    ages = GaugeMetricFamily(
        "autotuner_worker_heartbeat_age_seconds",
        "Time since the last heartbeat of each worker that is alive, or was within the last hour.",
        labels=("worker", "host"),
    )
    for worker in totals.workers:
        ages.add_metric((worker.id, worker.host), worker.silent_s)
    yield ages


def _running_studies(running: Sequence[StudyOverview]) -> Iterable[Metric]:
    gains = GaugeMetricFamily(
        "autotuner_running_study_gain_ratio",
        "Gain of the best configuration so far over the default (0.1: 10% better); at most 20 running studies.",
        labels=("study",),
    )
    launches = GaugeMetricFamily(
        "autotuner_running_study_launches", "Finished launches; at most 20 running studies.", labels=("study",)
    )
    planned = GaugeMetricFamily(
        "autotuner_running_study_launches_planned",
        "Launches that the study makes at most; at most 20 running studies.",
        labels=("study",),
    )
    for study in running:
        change = study.answer.change
        if change is not None and study.spec.objectives:
            better = study.spec.objectives[0].direction is Direction.MAX
            gains.add_metric((study.name,), change if better else -change)
        launches.add_metric((study.name,), study.launches)
        planned.add_metric((study.name,), study.planned)
    return (gains, launches, planned)
