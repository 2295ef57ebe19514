import { expect, it } from "vitest";
import { type Control, controlOf, labelOf, type Schema, schemaAt } from "./schema";

const ROOT: Schema = {
  properties: {
    engine: {
      anyOf: [{ enum: ["vllm"] }, { $ref: "#/$defs/engine.vllm" }, { $ref: "#/$defs/engine.simulated" }],
    },
  },
  $defs: {
    "engine.vllm": { properties: { kind: { const: "vllm" }, server: { type: "string" } } },
    "engine.simulated": { properties: { kind: { const: "simulated" }, speed: { type: "number" } } },
    Api: { type: "string", enum: ["chat", "completions"] },
    Slo: { type: "object", properties: {} },
  },
};

it.each<[Schema, Control["kind"]]>([
  [{ $ref: "#/$defs/Api" }, "choice"],
  [{ anyOf: [{ const: "capacity", type: "string" }, { type: "null" }] }, "choice"],
  [{ type: "boolean" }, "switch"],
  [{ anyOf: [{ type: "string" }, { type: "null" }] }, "text"],
  [{ anyOf: [{ type: "number" }, { type: "string" }] }, "scalar"],
  [{ anyOf: [{ type: "integer" }, { type: "array", items: { type: "integer" } }] }, "list"],
  [
    { anyOf: [{ type: "string" }, { $ref: "#/$defs/Slo" }, { type: "array", items: { type: "string" } }] },
    "rows",
  ],
  [{ type: "object", additionalProperties: { type: "number" } }, "yaml"],
  [{ anyOf: [{}, { type: "null" }] }, "yaml"],
  [{ type: "object", properties: { trials: { type: "integer" } } }, "group"],
])("chooses a control for %j", (schema, kind) => {
  expect(controlOf(ROOT, schema).kind).toBe(kind);
});

it("finds the settings of the chosen kind", () => {
  expect(schemaAt(ROOT, ["engine", "speed"], { engine: "simulated" })?.type).toBe("number");
  expect(schemaAt(ROOT, ["engine", "speed"], { engine: "vllm" })).toBeNull();
});

it("writes keys as words", () => {
  expect(["max_duration", "slo", "gpu_count"].map((key) => labelOf([key]))).toEqual([
    "Max duration",
    "SLOs",
    "GPUs",
  ]);
});
