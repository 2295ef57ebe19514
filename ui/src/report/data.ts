// The study inside the file: what a server would answer about it.

import { type Answer, ApiError } from "~/api/client";
import { studyUrl } from "~/api/queries";
import type { WindowLatencies } from "~/api/types";

export interface ReportData {
  study: string;
  /** Version of the program that wrote the report. */
  version: string;
  /** What a long study has besides, one sentence each. */
  left_out: readonly string[];
  /** Where the JSON of the study has each trial, if some are left out. */
  positions: Readonly<Record<string, number>> | null;
  /** Answers by their addresses below that of the study. */
  answers: Readonly<Record<string, unknown>>;
}

/** Reads the data of this file. */
export function embedded(): ReportData {
  return JSON.parse(document.getElementById("data")?.textContent ?? "") as ReportData;
}

/** Answers the requests of pages from the data. */
export function answering(data: ReportData): Answer {
  const own = `${studyUrl(data.study)}/`;
  return (path) => {
    if (path.startsWith(own)) {
      const key = keyOf(path.slice(own.length));
      if (Object.hasOwn(data.answers, key)) return data.answers[key];
    }
    throw new ApiError(404, {
      kind: "not_found",
      message: "this is not part of the report",
      hint: `the command line shows it: autotuner show ${data.study}`,
    });
  };
}

/** The report has one answer per address, whatever number of lines is asked for. */
function keyOf(address: string): string {
  const [place = "", query] = address.split("?");
  const asked = new URLSearchParams(query);
  const named = ["window", "form"].find((one) => asked.has(one));
  return named === undefined ? place : `${place}?${named}=${asked.get(named)}`;
}

/** Whether the winner is there in this form; most need an image, which not every study names. */
export function hasManifest(data: ReportData, form: string): boolean {
  return Object.hasOwn(data.answers, `manifest?form=${form}`);
}

/** Whether there are latencies of a trial; its request records may not have been where the report was written. */
export function hasLatencies(data: ReportData, trial: number): boolean {
  return Object.entries(data.answers).some(
    ([address, answer]) =>
      address.startsWith(`trials/${trial}/latencies?`) && (answer as WindowLatencies).latencies.length > 0,
  );
}
