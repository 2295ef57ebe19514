import { expect, it } from "vitest";
import { firstAction, loss, type Subject } from "./allowed";

const NEW: Subject = { name: "chat", standing: "new", running: false, launches: 0, answered: false };

it.each([
  [{}, "start"],
  [{ standing: "queued" }, "dequeue"],
  [{ standing: "running", running: true }, "stop"],
  [{ standing: "cut off" }, "resume"],
  [{ standing: "stopped", launches: 4 }, "resume"],
  [{ standing: "failed" }, "resume"],
  [{ standing: "done", launches: 9, answered: true }, null],
] as const)("offers the next step of a study: %o", (state, action) => {
  expect(firstAction({ ...NEW, ...state })).toBe(action);
});

it("names what is lost", () => {
  expect(loss(NEW)).toContain("no results yet");
  expect(loss({ ...NEW, launches: 1 })).toContain(": 1 launch with");
  expect(loss({ ...NEW, launches: 9 })).not.toContain("answer");
  expect(loss({ ...NEW, launches: 9, answered: true })).toContain("9 launches");
  expect(loss({ ...NEW, launches: 9, answered: true })).toContain("the answer");
});
