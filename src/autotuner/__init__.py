"""LLM Inference Autotuner: finds the launch parameters that make an inference server fastest, and proves it.

    import autotuner
    result = autotuner.tune("study.yaml")
    print(result.winner.configuration.values, result.gain)

Modules are imported on first use, so that the command line starts quickly; ``__init__.pyi`` declares the names for type
checkers.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "autotuner.api.access": ("Access", "NewToken"),
    "autotuner.api.client": ("Autotuner", "open"),
    "autotuner.api.clients.studies": ("CheckedStudy", "ClientStudies"),
    "autotuner.api.demo": ("write_demo",),
    "autotuner.api.fleet.launched": ("LaunchedObjects", "LaunchedOverview", "LaunchedState", "UnreachableTarget"),
    "autotuner.api.fleet.listing": ("LeaseOverview", "WorkerOverview"),
    "autotuner.api.options": ("ConnectionOptions", "ExportForm", "ManifestForm", "ManifestOptions"),
    "autotuner.api.presets": ("Presets",),
    "autotuner.api.results": ("ServerLog",),
    "autotuner.api.setup": ("engine_parameters", "starter_text", "study_schema", "write_starter"),
    "autotuner.api.shorthands": (
        "bench",
        "measure_capacity",
        "delete_study",
        "doctor",
        "export_result",
        "list_studies",
        "load_result",
        "plan_study",
        "reap",
        "render_manifest",
        "stop_study",
        "tune",
        "tune_async",
        "verify_capacity",
        "write_report",
    ),
    "autotuner.api.reading.feed": ("EventFeed", "FedEvent"),
    "autotuner.api.reading.reader": ("Page", "StudyReader"),
    "autotuner.api.study_input": ("Study", "read_study"),
    "autotuner.api.webhooks.outbox": ("Outbox",),
    "autotuner.api.webhooks.sending": ("WebhookAttempt",),
    "autotuner.api.webhooks.webhooks": ("NewWebhook", "Webhooks"),
    "autotuner.benchmarks.measure_url": ("BenchReport", "BenchStoppedError", "SloResult"),
    "autotuner.diagnosis": ("Diagnosis",),
    "autotuner.events.types": (
        "Event",
        "Notice",
        "PhaseEntered",
        "StudyFinished",
        "StudyStarted",
        "StudyWaiting",
        "TrialFinished",
        "TrialProposed",
        "UnknownEvent",
        "WindowProgress",
        "WorldLearned",
    ),
    "autotuner.report.exported.render": ("Manifest",),
    "autotuner.report.overview": ("StudyOverview",),
    "autotuner.report.result": ("StudyResult",),
    "autotuner.report.study_list": ("StudyRow", "StudyRows"),
    "autotuner.scoring.gain": ("Effect", "Gain"),
    "autotuner.store.backup.archive": ("BackupSummary",),
    "autotuner.store.lists.totals": ("StoreTotals", "TrialTotal", "WorkerTotal"),
    "autotuner.store.presets.records": ("Preset",),
    "autotuner.store.records": (
        "AuditEntry",
        "QueueEntry",
        "QueueState",
        "StudyRecord",
        "Token",
        "TokenScope",
        "WorkerRecord",
    ),
    "autotuner.store.rows": ("StoreError", "UnreadableError"),
    "autotuner.store.webhooks.records": (
        "DeliveryState",
        "LastAttempt",
        "Webhook",
        "WebhookEvent",
        "WebhookForm",
        "WebhookStatus",
    ),
    "autotuner.study.capacity.result": (
        "CapacityLevel",
        "CapacityReport",
        "CapacityResult",
        "LevelCheck",
        "LoadUnit",
        "Verification",
    ),
    "autotuner.study.configuration": ("Configuration",),
    "autotuner.study.check": ("Check", "CheckStatus", "PreflightError"),
    "autotuner.errors": (
        "AutotunerError",
        "EnvironmentFaultError",
        "MissingExtraError",
        "NotFoundError",
        "Problem",
        "StudyBusyError",
        "UsageError",
    ),
    "autotuner.study.failure": ("Failure", "FailureCause"),
    "autotuner.study.measurement": ("Measurement",),
    "autotuner.study.owner": ("Owner",),
    "autotuner.study.parameters.parameter": ("CatalogEntry",),
    "autotuner.study.spec": ("StudySpec",),
    "autotuner.study.trial": ("Trial", "TrialRole", "TrialState"),
    "autotuner.study.verdict": ("Verdict", "Violation"),
    "autotuner.study_file.loader": ("LoadedStudy",),
    "autotuner.tuning.capacity_session": ("CapacityStoppedError",),
    "autotuner.tuning.ending": ("Ending",),
    "autotuner.tuning.planning.plan": ("Plan", "PlannedEngine", "PlannedLaunch", "PredictedLevel"),
    "autotuner.tuning.planning.resume_decision": ("Standing",),
}
"""Public names by defining module."""
_MODULE = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE)]  # noqa: PLE0604 - all of them are strings


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        value = getattr(import_module(_MODULE[name]), name)
        globals()[name] = value
        return value
    if name in {"manifest", "plan", "result", "studies"}:
        return import_module("autotuner.api.earlier_names").earlier(name)
    raise AttributeError(f"module 'autotuner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
