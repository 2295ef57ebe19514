// Shapes of trials in plots. All trials of a kind are one path, so that thousands of them stay fast.

export type MarkKind = "ok" | "missed" | "failed" | "doubtful" | "default" | "best";

/** A trial in a plot, in pixels. */
export interface Mark {
  id: string;
  kind: MarkKind;
  x: number;
  y: number;
}

/** In the order in which they are drawn: what matters most is on top. */
export const KINDS: readonly MarkKind[] = ["failed", "missed", "doubtful", "ok", "default", "best"];
export const KIND_TEXTS: Record<MarkKind, string> = {
  ok: "SLOs met",
  missed: "SLOs missed",
  failed: "failed",
  doubtful: "not ranked or cut",
  default: "default",
  best: "best",
};

const R = 4;

/** One shape. They differ in form too, for those who do not see colors. */
export function shape(kind: MarkKind, x: number, y: number, scale = 1): string {
  const r = R * scale;
  switch (kind) {
    case "failed":
      return `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
    case "default":
      return `M${x} ${y - r * 1.4}l${r * 1.4} ${r * 1.4}l${-r * 1.4} ${r * 1.4}l${-r * 1.4} ${-r * 1.4}z`;
    case "best":
      return star(x, y, r * 1.9);
    case "doubtful":
      return `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`;
    default:
      return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
  }
}

function star(x: number, y: number, r: number): string {
  const points = Array.from({ length: 10 }, (_, i) => {
    const angle = (i * Math.PI) / 5 - Math.PI / 2;
    const size = i % 2 === 0 ? r : r * 0.45;
    return `${(x + size * Math.cos(angle)).toFixed(2)} ${(y + size * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${points.join("L")}z`;
}

/** All marks of each kind as one path. */
export function paths(marks: readonly Mark[]): [MarkKind, string][] {
  return KINDS.map((kind): [MarkKind, string] => [
    kind,
    marks
      .filter((mark) => mark.kind === kind)
      .map((mark) => shape(kind, mark.x, mark.y))
      .join(""),
  ]).filter(([, d]) => d !== "");
}

/** The mark closest to a point, if one is near. */
export function nearest(marks: readonly Mark[], x: number, y: number, within = 24): Mark | null {
  let found: Mark | null = null;
  let least = within * within;
  for (const mark of marks) {
    const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2;
    if (distance < least) {
      found = mark;
      least = distance;
    }
  }
  return found;
}
