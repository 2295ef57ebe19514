import { expect, it } from "vitest";
import type { WorkerOverview } from "~/api/types";
import { refusalTexts, waitingFor, workerState } from "./waiting";

function worker(labels: Record<string, string>, studies: string[] = [], more = {}): WorkerOverview {
  const record = {
    id: "w",
    host: "h",
    pid: 1,
    process: "",
    labels,
    at_most: 1,
    state: "running",
    version: "",
  };
  return {
    worker: { ...record, started_at: 0, heartbeat_at: 0, lease_s: 20, ...more },
    alive: true,
    silent_s: 1,
    studies,
  };
}

const ANY = { labels: {}, refusals: {} };
const H100 = { labels: { gpu: "h100" }, refusals: {} };

it("says which worker is missing", () => {
  expect(waitingFor(ANY, [])).toBe("a worker; none is running");
  expect(waitingFor(H100, [worker({})])).toBe("a worker with gpu=h100; none is running");
  expect(waitingFor(H100, [worker({ gpu: "h100" }, [], { state: "draining" })])).toContain("none is running");
  expect(waitingFor(H100, [{ ...worker({ gpu: "h100" }), alive: false }])).toContain("none is running");
});

it("says that those that fit are busy", () => {
  expect(waitingFor(H100, [worker({ gpu: "h100" }, ["a"]), worker({})])).toContain("the only one is busy");
  expect(waitingFor(ANY, [worker({ gpu: "h100" }, ["a"]), worker({}, ["b"])])).toContain("all 2 are busy");
  expect(waitingFor(ANY, [worker({}, ["a"]), worker({})])).toBe("a worker to take it");
});

it("waits for another worker than those that cannot run it", () => {
  const refused = { labels: {}, refusals: { w: "machine has changed", gone: "no model" } };
  expect(waitingFor(refused, [worker({})])).toBe("another worker; none is running");
  expect(waitingFor(refused, [worker({}), worker({}, [], { id: "v" })])).toBe("another worker to take it");
  expect(refusalTexts(refused, new Map([["w", "node-2"]]))).toEqual([
    "cannot run on node-2: machine has changed",
    "cannot run on gone: no model",
  ]);
});

it("tells a worker that ended from one that was lost", () => {
  expect(workerState(worker({}))).toBe("running");
  expect(workerState({ ...worker({}, [], { state: "ended" }), alive: false })).toBe("ended");
  expect(workerState({ ...worker({}), alive: false })).toBe("lost");
});
