// The JSON Schema of study files, as far as a form needs it: which control a value gets, and what is said beside it.

import type { Path } from "./draft";

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly required?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

/** How a value is edited. */
export type Control =
  | { kind: "choice"; options: readonly string[] }
  | { kind: "switch" }
  /** Text as it is. */
  | { kind: "text" }
  /** A number, a duration or a share. */
  | { kind: "scalar" }
  /** Values divided by commas; `single`: one of them need not be a list. */
  | { kind: "list"; single: boolean }
  /** One text or mapping per row. */
  | { kind: "rows" }
  | { kind: "group"; properties: Readonly<Record<string, Schema>> }
  | { kind: "yaml" };

/** A schema without references at its top; siblings of a reference take precedence. */
export function resolved(root: Schema, schema: Schema): Schema {
  if (schema.$ref === undefined) return schema;
  const target = root.$defs?.[schema.$ref.replace("#/$defs/", "")] ?? {};
  const { $ref: _, ...own } = schema;
  return { ...resolved(root, target), ...own };
}

/** All forms that a value may have, without null. */
function forms(root: Schema, schema: Schema): Schema[] {
  const found = resolved(root, schema);
  const several = found.anyOf?.flatMap((one) => forms(root, one)) ?? [found];
  return several.filter((one) => one.type !== "null");
}

export function controlOf(root: Schema, schema: Schema): Control {
  const all = forms(root, schema);
  const options = all.flatMap((one) => one.enum ?? (one.const === undefined ? [] : [one.const]));
  const texts = options.filter((one): one is string => typeof one === "string");
  if (texts.length > 0 && all.every((one) => one.enum !== undefined || one.const !== undefined)) {
    return { kind: "choice", options: [...new Set(texts)] };
  }
  if (all.length === 1 && all[0]?.properties) return { kind: "group", properties: all[0].properties };
  const kinds = new Set(all.flatMap((one) => one.type ?? "any"));
  if (kinds.size === 1 && kinds.has("boolean")) return { kind: "switch" };
  if (kinds.size === 1 && kinds.has("string")) return { kind: "text" };
  if ([...kinds].every((kind) => ["number", "integer", "string", "boolean"].includes(kind))) {
    return { kind: "scalar" };
  }
  const items = all.flatMap((one) => (one.type === "array" && one.items ? forms(root, one.items) : []));
  if (items.length === 0 || all.some(isMapping)) return { kind: "yaml" };
  const itemKinds = new Set(items.flatMap((one) => one.type ?? "any"));
  if (itemKinds.has("string")) return { kind: "rows" };
  if (itemKinds.has("number") || itemKinds.has("integer")) return { kind: "list", single: all.length > 1 };
  return { kind: "yaml" };
}

/** Whether it is a mapping whose keys are the user's own. */
function isMapping(schema: Schema): boolean {
  return typeof schema.additionalProperties === "object";
}

/** The schema at a path of the study; of the settings of its engine, deployer and so on. */
export function schemaAt(root: Schema, path: Path, kinds: Readonly<Record<string, string>>): Schema | null {
  let found: Schema | undefined = root;
  for (const [depth, part] of path.entries()) {
    const inner: Schema = sectionOf(root, found, depth === 1 ? String(path[0]) : "", kinds);
    found = inner.properties?.[String(part)];
    if (!found) return null;
  }
  return found;
}

function sectionOf(
  root: Schema,
  schema: Schema,
  section: string,
  kinds: Readonly<Record<string, string>>,
): Schema {
  const all = forms(root, schema);
  const key = section === "search" ? "strategy" : "kind";
  const kind = kinds[section];
  const own = all.find(
    (one) => one.properties?.[key]?.const !== undefined && one.properties[key]?.const === kind,
  );
  return own ?? all.find((one) => one.properties) ?? {};
}

/** What a field shows while it is empty. */
export function placeholderOf(schema: Schema): string {
  const value = schema.default;
  if (value === undefined || value === null || typeof value === "object") return "";
  return String(value);
}

/** The words that a key is read as: `max_duration` as `Max duration`. */
export function labelOf(path: Path): string {
  const words = String(path.at(-1)).replaceAll("_", " ");
  return (LABELS[words] ?? words).replace(/^./, (first) => first.toUpperCase());
}

const LABELS: Readonly<Record<string, string>> = {
  slo: "SLOs",
  gpu: "GPU",
  env: "environment",
  args: "fixed flags",
  "gpu count": "GPUs",
  "gpu hours": "GPU-hours",
  "gpu ids": "GPU ids",
  api: "API",
};
