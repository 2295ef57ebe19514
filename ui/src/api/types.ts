// Types of what the server sends. It sends every field, also those with a default, which its description calls optional.

import type * as schema from "./schema";

type Sent<T> = T extends object ? { [K in keyof T]-?: Sent<Exclude<T[K], undefined>> } : T;

export type {
  Direction,
  ErrorBody,
  ErrorDetail,
  Form,
  Problem,
  Session,
  TokenScope,
  Unit,
  WebhookEvent,
  WebhookForm,
  WebhookRequest,
} from "./schema";
export type AuditEntry = Sent<schema.AuditEntry>;
export type CatalogEntry = Sent<schema.CatalogEntry>;
export type CheckedStudy = Sent<schema.CheckedStudy>;
export type Check = Sent<schema.Check>;
export type Diagnosis = Sent<schema.Diagnosis>;
export type GoalColumn = Sent<schema.GoalColumn>;
export type LaunchedObjects = Sent<schema.LaunchedObjects>;
export type LaunchedOverview = Sent<schema.LaunchedOverview>;
export type LeaseOverview = Sent<schema.LeaseOverview>;
export type LogTail = Sent<schema.LogTail>;
export type Measurement = Sent<schema.Measurement>;
export type NewToken = Sent<schema.NewToken>;
export type NewWebhook = Sent<schema.NewWebhook>;
export type Plan = Sent<schema.Plan>;
export type Preset = Sent<schema.Preset>;
export type QueueEntry = Sent<schema.QueueEntry>;
export type StudyDetails = Sent<schema.StudyDetails>;
export type StudyEvidence = Sent<schema.StudyEvidence>;
export type StudyPredictions = Sent<schema.StudyPredictions>;
export type StudyOverview = Sent<schema.StudyOverview>;
export type StudyRow = Sent<schema.StudyRow>;
export type StudyRows = Sent<schema.StudyRows>;
export type LatencyDistribution = Sent<schema.LatencyDistribution>;
export type Token = Sent<schema.Token>;
export type TrialDetails = Sent<schema.TrialDetails>;
export type TrialHistory = Sent<schema.TrialHistory>;
export type TrialRow = Sent<schema.TrialRow>;
export type Webhook = Sent<schema.Webhook>;
export type WebhookAttempt = Sent<schema.WebhookAttempt>;
export type WebhookStatus = Sent<schema.WebhookStatus>;
export type WindowLatencies = Sent<schema.WindowLatencies>;
export type WorkerOverview = Sent<schema.WorkerOverview>;
