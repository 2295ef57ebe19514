// The windows of a trial: where its JSON has them, and what they are called.

import type { Measurement, TrialDetails } from "~/api/types";
import { levelText } from "~/format/levels";
import { plain } from "~/format/numbers";

const LOADS = { rate: "requests/s", concurrency: "in flight", speed: "x speed" } as const;

export interface TrialWindow {
  /** Place in the trial, as the API knows it: `measurements.0`, `capacities.0.levels.3`. */
  id: string;
  /** Place of its measurement in the JSON. */
  path: string;
  title: string;
  /** Whether it is the one to show first: the load that a capacity search certified. */
  main: boolean;
  measured: Measurement;
}

/** All windows whose requests were recorded, full ones first. */
export function trialWindows(details: TrialDetails): TrialWindow[] {
  const { measurements, looks, capacities } = details.trial;
  const scenarios = new Set([...measurements, ...looks].map((one) => one.scenario));
  const title = (one: Measurement) =>
    [levelText(one.level), scenarios.size > 1 ? one.scenario : ""].filter(Boolean).join(", ");
  return [
    ...measurements
      // At a capacity, the measurement is that of the certified level, which is in the list below.
      .map((measured, i) => ({ id: `measurements.${i}`, path: `trial.measurements.${i}`, measured }))
      .filter(({ measured }) => measured.level.kind !== "capacity")
      .map((one) => ({ ...one, title: title(one.measured), main: false })),
    ...capacities.flatMap((found, i) =>
      found.levels.map((level, j) => ({
        id: `capacities.${i}.levels.${j}`,
        path: `trial.capacities.${i}.levels.${j}.measurement`,
        title: `${plain(level.load)} ${LOADS[found.unit]}, ${level.decision.state}`,
        main: level.decision.state === "certified" && level.load === found.certified,
        measured: level.measurement,
      })),
    ),
    ...looks.map((measured, i) => ({
      id: `looks.${i}`,
      path: `trial.looks.${i}`,
      title: `${title(measured)}, short window`,
      main: false,
      measured,
    })),
  ].filter((one) => Object.keys(one.measured.distributions).length > 0);
}
