import { expect, it } from "vitest";
import { named, unnamed } from "../draft/draft";
import { nameFor } from "./names";

it("names presets after files", () => {
  expect(nameFor("vllm-h100.yaml")).toBe("vllm-h100");
  expect(nameFor("Küche (alt).YML")).toBe("K-che-alt-");
  expect(nameFor("..json")).toBe("");
  expect(nameFor("a".repeat(80))).toHaveLength(63);
});

it("gives studies the name of their preset, and presets none", () => {
  const text = "# of the team\nengine: vllm # the usual one\n";
  const study = named(text, "chat");
  expect(study).toContain("name: chat");
  expect(study).toContain("# the usual one");
  expect(unnamed(study)).toBe(text);
  expect(named("name: own\n", "chat")).toBe("name: own\n");
  expect(named("engine: [", "chat")).toBe("engine: [");
});
