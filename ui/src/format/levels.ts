import type { Measurement } from "~/api/types";

type Level = Measurement["level"];

/** A load level in the notation of study files: `concurrency=8`, `rate=4/s poisson`. */
export function levelText(level: Level): string {
  switch (level.kind) {
    case "concurrency":
      return `concurrency=${level.in_flight}`;
    case "rate": {
      const shape = level.arrivals === "gamma" ? ` burstiness=${level.burstiness}` : "";
      return `rate=${level.rate}/s ${level.arrivals}${shape}`;
    }
    case "trace":
      return `speed=${level.speed}`;
    case "stages":
      return `${level.stages.length} stages`;
    case "users":
      return "users";
    default:
      return "capacity";
  }
}
