// Types of what the server sends. It sends every field, also those with a default, which its description calls optional.

import type * as schema from "./schema";

type Sent<T> = T extends object ? { [K in keyof T]-?: Sent<Exclude<T[K], undefined>> } : T;

export type { Direction, ErrorBody, ErrorDetail, Form, Session, Unit } from "./schema";
export type GoalColumn = Sent<schema.GoalColumn>;
export type LogTail = Sent<schema.LogTail>;
export type Measurement = Sent<schema.Measurement>;
export type StudiesPage = Sent<schema.PageStudyOverview>;
export type StudyDetails = Sent<schema.StudyDetails>;
export type StudyPredictions = Sent<schema.StudyPredictions>;
export type StudyOverview = Sent<schema.StudyOverview>;
export type LatencyDistribution = Sent<schema.LatencyDistribution>;
export type TrialDetails = Sent<schema.TrialDetails>;
export type TrialHistory = Sent<schema.TrialHistory>;
export type TrialRow = Sent<schema.TrialRow>;
export type WindowLatencies = Sent<schema.WindowLatencies>;
