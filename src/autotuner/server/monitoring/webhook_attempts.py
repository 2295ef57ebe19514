"""Attempts of this server to deliver messages to webhooks."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from autotuner import WebhookAttempt

_RESULTS = ("delivered", "failed")


class WebhookAttempts:
    """The metrics of attempts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "autotuner_webhook_attempts_total",
            "Attempts of this server to deliver a message to a webhook.",
            ("result",),
            registry=registry,
        )
        self._durations = Histogram(
            "autotuner_webhook_attempt_duration_seconds",
            "Time until a webhook had answered, or the attempt was given up.",
            registry=registry,
        )
        for result in _RESULTS:
            self._attempts.labels(result)

    def add(self, attempt: WebhookAttempt) -> None:
        """Counts an attempt."""
        self._attempts.labels("delivered" if attempt.delivered else "failed").inc()
        self._durations.observe(attempt.seconds)
