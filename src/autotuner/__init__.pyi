from autotuner.api.access import Access as Access
from autotuner.api.access import NewToken as NewToken
from autotuner.api.client import Autotuner as Autotuner
from autotuner.api.client import open as open  # noqa: A004 - it is called autotuner.open
from autotuner.api.clients.studies import CheckedStudy as CheckedStudy
from autotuner.api.clients.studies import ClientStudies as ClientStudies
from autotuner.api.demo import write_demo as write_demo
from autotuner.api.fleet.launched import LaunchedObjects as LaunchedObjects
from autotuner.api.fleet.launched import LaunchedOverview as LaunchedOverview
from autotuner.api.fleet.launched import LaunchedState as LaunchedState
from autotuner.api.fleet.launched import UnreachableTarget as UnreachableTarget
from autotuner.api.fleet.listing import LeaseOverview as LeaseOverview
from autotuner.api.fleet.listing import WorkerOverview as WorkerOverview
from autotuner.api.options import ConnectionOptions as ConnectionOptions
from autotuner.api.options import ExportForm as ExportForm
from autotuner.api.options import ManifestForm as ManifestForm
from autotuner.api.options import ManifestOptions as ManifestOptions
from autotuner.api.presets import Presets as Presets
from autotuner.api.reading.feed import EventFeed as EventFeed
from autotuner.api.reading.feed import FedEvent as FedEvent
from autotuner.api.reading.reader import Page as Page
from autotuner.api.reading.reader import StudyReader as StudyReader
from autotuner.api.results import ServerLog as ServerLog
from autotuner.api.setup import engine_parameters as engine_parameters
from autotuner.api.setup import starter_text as starter_text
from autotuner.api.setup import study_schema as study_schema
from autotuner.api.setup import write_starter as write_starter
from autotuner.api.shorthands import bench as bench
from autotuner.api.shorthands import delete_study as delete_study
from autotuner.api.shorthands import doctor as doctor
from autotuner.api.shorthands import export_result as export_result
from autotuner.api.shorthands import list_studies as list_studies
from autotuner.api.shorthands import load_result as load_result
from autotuner.api.shorthands import measure_capacity as measure_capacity
from autotuner.api.shorthands import plan_study as plan_study
from autotuner.api.shorthands import reap as reap
from autotuner.api.shorthands import render_manifest as render_manifest
from autotuner.api.shorthands import stop_study as stop_study
from autotuner.api.shorthands import tune as tune
from autotuner.api.shorthands import tune_async as tune_async
from autotuner.api.shorthands import verify_capacity as verify_capacity
from autotuner.api.shorthands import write_report as write_report
from autotuner.api.study_input import Study as Study
from autotuner.api.study_input import read_study as read_study
from autotuner.api.webhooks.outbox import Outbox as Outbox
from autotuner.api.webhooks.sending import WebhookAttempt as WebhookAttempt
from autotuner.api.webhooks.webhooks import NewWebhook as NewWebhook
from autotuner.api.webhooks.webhooks import Webhooks as Webhooks
from autotuner.benchmarks.measure_url import BenchReport as BenchReport
from autotuner.benchmarks.measure_url import BenchStoppedError as BenchStoppedError
from autotuner.benchmarks.measure_url import SloResult as SloResult
from autotuner.diagnosis import Diagnosis as Diagnosis
from autotuner.errors import AutotunerError as AutotunerError
from autotuner.errors import EnvironmentFaultError as EnvironmentFaultError
from autotuner.errors import MissingExtraError as MissingExtraError
from autotuner.errors import NotFoundError as NotFoundError
from autotuner.errors import Problem as Problem
from autotuner.errors import StudyBusyError as StudyBusyError
from autotuner.errors import UsageError as UsageError
from autotuner.events.types import Event as Event
from autotuner.events.types import Notice as Notice
from autotuner.events.types import PhaseEntered as PhaseEntered
from autotuner.events.types import StudyFinished as StudyFinished
from autotuner.events.types import StudyStarted as StudyStarted
from autotuner.events.types import StudyWaiting as StudyWaiting
from autotuner.events.types import TrialFinished as TrialFinished
from autotuner.events.types import TrialProposed as TrialProposed
from autotuner.events.types import UnknownEvent as UnknownEvent
from autotuner.events.types import WindowProgress as WindowProgress
from autotuner.events.types import WorldLearned as WorldLearned
from autotuner.report.exported.render import Manifest as Manifest
from autotuner.report.overview import StudyOverview as StudyOverview
from autotuner.report.result import StudyResult as StudyResult
from autotuner.report.study_list import StudyRow as StudyRow
from autotuner.report.study_list import StudyRows as StudyRows
from autotuner.scoring.gain import Effect as Effect
from autotuner.scoring.gain import Gain as Gain
from autotuner.store.backup.archive import BackupSummary as BackupSummary
from autotuner.store.lists.totals import StoreTotals as StoreTotals
from autotuner.store.lists.totals import TrialTotal as TrialTotal
from autotuner.store.lists.totals import WorkerTotal as WorkerTotal
from autotuner.store.presets.records import Preset as Preset
from autotuner.store.records import AuditEntry as AuditEntry
from autotuner.store.records import QueueEntry as QueueEntry
from autotuner.store.records import QueueState as QueueState
from autotuner.store.records import StudyRecord as StudyRecord
from autotuner.store.records import Token as Token
from autotuner.store.records import TokenScope as TokenScope
from autotuner.store.records import WorkerRecord as WorkerRecord
from autotuner.store.rows import StoreError as StoreError
from autotuner.store.rows import UnreadableError as UnreadableError
from autotuner.store.webhooks.records import DeliveryState as DeliveryState
from autotuner.store.webhooks.records import LastAttempt as LastAttempt
from autotuner.store.webhooks.records import Webhook as Webhook
from autotuner.store.webhooks.records import WebhookEvent as WebhookEvent
from autotuner.store.webhooks.records import WebhookForm as WebhookForm
from autotuner.store.webhooks.records import WebhookStatus as WebhookStatus
from autotuner.study.capacity.result import CapacityLevel as CapacityLevel
from autotuner.study.capacity.result import CapacityReport as CapacityReport
from autotuner.study.capacity.result import CapacityResult as CapacityResult
from autotuner.study.capacity.result import LevelCheck as LevelCheck
from autotuner.study.capacity.result import Verification as Verification
from autotuner.study.check import Check as Check
from autotuner.study.check import CheckStatus as CheckStatus
from autotuner.study.check import PreflightError as PreflightError
from autotuner.study.configuration import Configuration as Configuration
from autotuner.study.failure import Failure as Failure
from autotuner.study.failure import FailureCause as FailureCause
from autotuner.study.measurement import Measurement as Measurement
from autotuner.study.owner import Owner as Owner
from autotuner.study.parameters.parameter import CatalogEntry as CatalogEntry
from autotuner.study.spec import StudySpec as StudySpec
from autotuner.study.trial import Trial as Trial
from autotuner.study.trial import TrialRole as TrialRole
from autotuner.study.trial import TrialState as TrialState
from autotuner.study.verdict import Verdict as Verdict
from autotuner.study.verdict import Violation as Violation
from autotuner.study.workload import LoadUnit as LoadUnit
from autotuner.study_file.loader import LoadedStudy as LoadedStudy
from autotuner.tuning.capacity_session import CapacityStoppedError as CapacityStoppedError
from autotuner.tuning.ending import Ending as Ending
from autotuner.tuning.planning.plan import Plan as Plan
from autotuner.tuning.planning.plan import PlannedEngine as PlannedEngine
from autotuner.tuning.planning.plan import PlannedLaunch as PlannedLaunch
from autotuner.tuning.planning.plan import PredictedLevel as PredictedLevel
from autotuner.tuning.planning.resume_decision import Standing as Standing

__version__: str

__all__ = [
    "Access",
    "AuditEntry",
    "Autotuner",
    "AutotunerError",
    "BackupSummary",
    "BenchReport",
    "BenchStoppedError",
    "CapacityLevel",
    "CapacityReport",
    "CapacityResult",
    "CapacityStoppedError",
    "CatalogEntry",
    "Check",
    "CheckStatus",
    "CheckedStudy",
    "ClientStudies",
    "Configuration",
    "ConnectionOptions",
    "DeliveryState",
    "Diagnosis",
    "Effect",
    "Ending",
    "EnvironmentFaultError",
    "Event",
    "EventFeed",
    "ExportForm",
    "Failure",
    "FailureCause",
    "FedEvent",
    "Gain",
    "LastAttempt",
    "LaunchedObjects",
    "LaunchedOverview",
    "LaunchedState",
    "LeaseOverview",
    "LevelCheck",
    "LoadUnit",
    "LoadedStudy",
    "Manifest",
    "ManifestForm",
    "ManifestOptions",
    "Measurement",
    "MissingExtraError",
    "NewToken",
    "NewWebhook",
    "NotFoundError",
    "Notice",
    "Outbox",
    "Owner",
    "Page",
    "PhaseEntered",
    "Plan",
    "PlannedEngine",
    "PlannedLaunch",
    "PredictedLevel",
    "PreflightError",
    "Preset",
    "Presets",
    "Problem",
    "QueueEntry",
    "QueueState",
    "ServerLog",
    "SloResult",
    "Standing",
    "StoreError",
    "StoreTotals",
    "Study",
    "StudyBusyError",
    "StudyFinished",
    "StudyOverview",
    "StudyReader",
    "StudyRecord",
    "StudyResult",
    "StudyRow",
    "StudyRows",
    "StudySpec",
    "StudyStarted",
    "StudyWaiting",
    "Token",
    "TokenScope",
    "Trial",
    "TrialFinished",
    "TrialProposed",
    "TrialRole",
    "TrialState",
    "TrialTotal",
    "UnknownEvent",
    "UnreachableTarget",
    "UnreadableError",
    "UsageError",
    "Verdict",
    "Verification",
    "Violation",
    "Webhook",
    "WebhookAttempt",
    "WebhookEvent",
    "WebhookForm",
    "WebhookStatus",
    "Webhooks",
    "WindowProgress",
    "WorkerOverview",
    "WorkerRecord",
    "WorkerTotal",
    "WorldLearned",
    "__version__",
    "bench",
    "delete_study",
    "doctor",
    "engine_parameters",
    "export_result",
    "list_studies",
    "load_result",
    "measure_capacity",
    "open",
    "plan_study",
    "read_study",
    "reap",
    "render_manifest",
    "starter_text",
    "stop_study",
    "study_schema",
    "tune",
    "tune_async",
    "verify_capacity",
    "write_demo",
    "write_report",
    "write_starter",
]
