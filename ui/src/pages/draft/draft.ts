// A study as text, and changes of it that keep its comments. The text is the only state: the form shows what it says.

import {
  type Document,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  type Pair,
  parseDocument,
  stringify,
  type YAMLMap,
} from "yaml";

export type Path = readonly (string | number)[];

/** What a text says. */
export interface Draft {
  text: string;
  data: Readonly<Record<string, unknown>>;
  /** Why it cannot be read; the form cannot change it then. */
  fault: { line: number; message: string } | null;
}

/** Sections that may be written as one word, and the key that the word stands for. */
const SHORT: Readonly<Record<string, string>> = {
  model: "path",
  engine: "kind",
  deploy: "kind",
  benchmark: "kind",
  search: "strategy",
};
/** Order of new sections. */
const ORDER = [
  "name",
  "model",
  "engine",
  "engines",
  "deploy",
  "benchmark",
  "parameters",
  "quantization",
  "parallelism",
  "constraints",
  "baseline",
  "workload",
  "objective",
  "slo",
  "min_success_rate",
  "search",
  "confirm",
  "quality",
  "prices",
  "worker",
];
const STYLE = { lineWidth: 0, flowCollectionPadding: false } as const;

export function readDraft(text: string): Draft {
  return { text, ...parsed(text) };
}

function parsed(text: string): { document: Document | null; data: Draft["data"]; fault: Draft["fault"] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const error = document.errors[0];
  if (error) {
    const { line } = lines.linePos(error.pos[0]);
    return { document: null, data: {}, fault: { line: line || 1, message: error.message } };
  }
  const data: unknown = document.contents === null ? {} : document.toJS();
  if (!isRecord(data)) {
    return { document: null, data: {}, fault: { line: 1, message: "must be a mapping of keys to values" } };
  }
  return { document, data, fault: null };
}

/** Whether a text is a task of the older tool. */
export function isOlder(data: Draft["data"]): boolean {
  return "task_name" in data || ("optimization" in data && !("objective" in data));
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value at a path; undefined if there is none. A section that is one word is read in its long form. */
export function valueAt(data: unknown, path: Path): unknown {
  let found = longForm(data, path);
  for (const part of path) {
    if (Array.isArray(found) && typeof part === "number") found = found[part];
    else if (isRecord(found)) found = found[part];
    else return undefined;
  }
  return found;
}

function longForm(data: unknown, path: Path): unknown {
  const [section] = path;
  const key = typeof section === "string" ? SHORT[section] : undefined;
  if (!key || path.length < 2 || !isRecord(data) || typeof section !== "string") return data;
  const given = data[section];
  return typeof given === "string" ? { ...data, [section]: { [key]: given } } : data;
}

/** The text with another value at a path; undefined removes it, and sections that are then empty. */
export function changed(text: string, path: Path, value: unknown): string {
  const { document } = parsed(text);
  if (document === null) return text;
  if (document.contents === null) document.contents = document.createNode({});
  if (value === undefined) remove(document, path);
  else set(document, path, value);
  return document.toString(STYLE);
}

/** The text of a preset as that of a study, which needs a name. */
export function named(text: string, name: string): string {
  const { data, fault } = readDraft(text);
  return fault || "name" in data || isOlder(data) ? text : changed(text, ["name"], name);
}

/** The text of a study as that of a preset, which gets a name from the study that begins with it. */
export function unnamed(text: string): string {
  return "name" in readDraft(text).data ? changed(text, ["name"], undefined) : text;
}

/** The text with another name of a key. */
export function renamed(text: string, path: Path, name: string): string {
  const { document } = parsed(text);
  const parent = document?.getIn(path.slice(0, -1));
  const pair = isMap(parent) ? pairOf(parent, path.at(-1)) : undefined;
  if (!document || !pair) return text;
  if (isScalar(pair.key)) pair.key.value = name;
  return document.toString(STYLE);
}

function set(document: Document, path: Path, value: unknown): void {
  lengthen(document, path);
  for (let depth = 1; depth < path.length; depth++) {
    const parent = path.slice(0, depth);
    if (!isCollection(document.getIn(parent, true))) insert(document, parent, document.createNode({}));
  }
  const before = document.getIn(path, true);
  const node = document.createNode(value);
  if (isCollection(node) && !isMap(node)) node.flow = true;
  if (isNode(before)) {
    node.comment = before.comment ?? null;
    node.commentBefore = before.commentBefore ?? null;
    if (before.spaceBefore) node.spaceBefore = true;
    if (isCollection(before) && isCollection(node)) node.flow = before.flow ?? false;
    if (isScalar(before) && isScalar(node) && typeof before.value === typeof node.value) {
      if (before.type) node.type = before.type;
    }
    document.setIn(path, node);
  } else insert(document, path, node);
}

/** `engine: vllm` as `engine: {kind: vllm}`, so that it can have further keys. */
function lengthen(document: Document, path: Path): void {
  const [section] = path;
  const key = typeof section === "string" ? SHORT[section] : undefined;
  if (!key || path.length < 2) return;
  const node = document.getIn([section], true);
  if (isScalar(node) && typeof node.value === "string") {
    const long = document.createNode({ [key]: node.value });
    long.comment = node.comment ?? null;
    document.setIn([section], long);
  }
}

/** Puts a new key where it usually stands. */
function insert(document: Document, path: Path, node: unknown): void {
  const key = path.at(-1);
  const root = document.contents;
  const place = ORDER.indexOf(String(key));
  if (path.length > 1 || !isMap(root) || place < 0) {
    document.setIn(path, node);
    return;
  }
  const next = root.items.findIndex((pair) => ORDER.indexOf(nameOf(pair)) > place);
  const pair = document.createPair(key, node);
  root.items.splice(next < 0 ? root.items.length : next, 0, pair);
}

function remove(document: Document, path: Path): void {
  lengthen(document, path);
  if (!document.hasIn(path)) return;
  document.deleteIn(path);
  const parent = path.slice(0, -1);
  const rest = parent.length > 0 ? document.getIn(parent) : null;
  if (isCollection(rest) && rest.items.length === 0) remove(document, parent);
}

function nameOf(pair: unknown): string {
  return isPair(pair) && isScalar(pair.key) ? String(pair.key.value) : "";
}

function pairOf(map: YAMLMap, key: unknown): Pair | undefined {
  return map.items.find((pair) => nameOf(pair) === String(key));
}

/** A value in one line of YAML. */
export function lineOf(value: unknown): string {
  if (value === undefined) return "";
  return stringify(value, { ...STYLE, collectionStyle: "flow" }).trim();
}

/** A value as YAML in several lines. */
export function blockOf(value: unknown): string {
  return value === undefined ? "" : stringify(value, STYLE).trimEnd();
}

/** What was read from a text, or why it could not be. */
export type Reading = { value: unknown } | { fault: string };

/** The value that a text stands for; undefined for an empty one. */
export function readValue(text: string): Reading {
  if (text.trim() === "") return { value: undefined };
  const document = parseDocument(text, { prettyErrors: false });
  const error = document.errors[0];
  return error ? { fault: error.message } : { value: document.toJS() };
}

/** Values divided by commas; a single one stands for itself if `single`. */
export function readList(text: string, single: boolean): Reading {
  if (text.trim() === "") return { value: undefined };
  const found = readValue(`[${text}]`);
  if ("fault" in found || !Array.isArray(found.value)) return found;
  return single && found.value.length === 1 ? { value: found.value[0] } : found;
}

export function listText(value: unknown): string {
  if (value === undefined) return "";
  return (Array.isArray(value) ? value : [value]).map(lineOf).join(", ");
}

/** A scenario, objective or SLO: text, or a mapping in one line. */
export function readItem(text: string): Reading {
  return text.trimStart().startsWith("{") ? readValue(text) : { value: text.trim() };
}

export function itemText(value: unknown): string {
  return typeof value === "string" ? value : lineOf(value);
}
