import { describe, expect, it } from "vitest";
import {
  changed,
  isOlder,
  itemText,
  listText,
  readDraft,
  readItem,
  readList,
  renamed,
  valueAt,
} from "./draft";

const TEXT = `# What to tune
name: "chat"   # a name
model: Qwen/Qwen3-8B
engine: vllm
parameters:
  # first
  max-num-seqs: [8, 32]   # requests at once
  gpu-memory-utilization: [0.80, 0.9]
workload:
  scenarios: "D(512,128)"
  concurrency: [1, 8]
objective: max output_throughput
`;

describe("a change keeps everything else", () => {
  it("keeps comments, order, quotes and spellings", () => {
    const text = changed(TEXT, ["parameters", "max-num-seqs"], [8, 64]);
    expect(text).toBe(TEXT.replace("[8, 32]", "[8, 64]").replaceAll("   #", " #"));
    expect(changed(text, ["parameters", "max-num-seqs"], [8, 64])).toBe(text);
  });

  it("adds sections where they usually stand", () => {
    const names = Object.keys(readDraft(changed(TEXT, ["slo"], ["p99 ttft <= 2s"])).data);
    expect(names.slice(-2)).toEqual(["objective", "slo"]);
    const deployed = Object.keys(readDraft(changed(TEXT, ["deploy"], "docker")).data);
    expect(deployed.slice(2, 5)).toEqual(["engine", "deploy", "parameters"]);
  });

  it("removes keys, and sections that are empty then", () => {
    const one = changed(TEXT, ["parameters", "max-num-seqs"], undefined);
    expect(readDraft(one).data.parameters).toEqual({ "gpu-memory-utilization": [0.8, 0.9] });
    const none = changed(one, ["parameters", "gpu-memory-utilization"], undefined);
    expect("parameters" in readDraft(none).data).toBe(false);
  });

  it("lengthens a section that is one word", () => {
    const text = changed(TEXT, ["engine", "args", "max-model-len"], 4096);
    expect(readDraft(text).data.engine).toEqual({ kind: "vllm", args: { "max-model-len": 4096 } });
    expect(valueAt(readDraft(TEXT).data, ["engine", "kind"])).toBe("vllm");
    expect(valueAt(readDraft(TEXT).data, ["engine", "args"])).toBeUndefined();
  });

  it("renames a key and keeps its value and comment", () => {
    const text = renamed(TEXT, ["parameters", "max-num-seqs"], "max-num-batched-tokens");
    expect(text).toContain("max-num-batched-tokens: [8, 32] # requests at once");
  });

  it("writes text that looks like something else as text", () => {
    expect(readDraft(changed(TEXT, ["name"], "123")).data.name).toBe("123");
    expect(readDraft(changed(TEXT, ["model"], "null")).data.model).toBe("null");
  });

  it("begins an empty study", () => {
    expect(changed("", ["workload", "duration"], "20s")).toBe("workload:\n  duration: 20s\n");
  });
});

it("says where a text cannot be read, and changes nothing of it", () => {
  const wrong = "name: chat\nparameters: [1, 2\nmodel: x\n";
  expect(readDraft(wrong).fault?.line).toBeGreaterThan(1);
  expect(changed(wrong, ["name"], "other")).toBe(wrong);
  expect(readDraft("- a\n").fault?.message).toContain("mapping");
});

it("reads and writes values as fields have them", () => {
  expect(readList("1, 8", true)).toEqual({ value: [1, 8] });
  expect(readList("8", true)).toEqual({ value: 8 });
  expect(readList('"on", off, null, [1, 2]', false)).toEqual({ value: ["on", "off", null, [1, 2]] });
  expect(readList("[1", false)).toHaveProperty("fault");
  expect(listText([8, { rate: 4 }])).toBe("8, {rate: 4}");
  expect(readItem("p99 ttft <= 2s")).toEqual({ value: "p99 ttft <= 2s" });
  expect(readItem("{metric: tpot}")).toEqual({ value: { metric: "tpot" } });
  expect(itemText({ metric: "tpot", hard: false })).toBe("{metric: tpot, hard: false}");
});

it("knows the tasks of the older tool", () => {
  expect(isOlder({ task_name: "x" })).toBe(true);
  expect(isOlder({ optimization: {} })).toBe(true);
  expect(isOlder({ optimization: {}, objective: "x" })).toBe(false);
});
