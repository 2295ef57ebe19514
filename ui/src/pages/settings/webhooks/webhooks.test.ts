import { expect, it } from "vitest";
import type { Webhook } from "~/api/types";
import { ALL_EVENTS, BLANK, eventsText, placeOf, requestOf, targetText } from "./webhooks";

const problem = (where: string) => ({ where, value: "", why: "is wrong", remedy: "" });

it("sends a value only as what its source says", () => {
  const given = { ...BLANK, name: " ops ", url: "https://ops.example.com/x" };
  expect(requestOf(given)).toEqual({
    name: "ops",
    form: "json",
    events: ALL_EVENTS,
    url: "https://ops.example.com/x",
    url_env: "",
    url_file: "",
    secret_env: "",
    secret_file: "",
  });
  const named = requestOf({ ...BLANK, urlSource: "env", url: "OPS", secretSource: "file", secret: "/key" });
  expect([named.url, named.url_env, named.url_file]).toEqual(["", "OPS", ""]);
  expect([named.secret_env, named.secret_file]).toEqual(["", "/key"]);
});

it("places problems at their fields", () => {
  expect(placeOf(problem("name"))).toBe("name");
  expect(placeOf(problem("body.name"))).toBe("name");
  expect(placeOf(problem("url_env"))).toBe("url");
  expect(placeOf(problem("secret_file"))).toBe("secret");
  expect(placeOf(problem("event"))).toBe("events");
  expect(placeOf(problem("body.events.0"))).toBe("events");
  expect(placeOf(problem("webhook"))).toBe(null);
});

it("says where messages go", () => {
  const webhook = { target: "https://ops.example.com/...", url_source: "kept" } as Webhook;
  expect(targetText(webhook)).toBe("https://ops.example.com/...");
  expect(targetText({ ...webhook, target: "", url_source: "env:OPS" })).toBe("variable OPS");
  expect(targetText({ ...webhook, target: "", url_source: "file:/run/hook" })).toBe("file /run/hook");
  expect(eventsText(ALL_EVENTS)).toBe("all");
  expect(eventsText(["study.failed", "worker.lost"])).toBe("study.failed, worker.lost");
});
