/** Parameter values as the command line shows them: `-` if omitted, `on` or `off` for a switch, `1,2` for a list. */
export function valueText(value: unknown): string {
  if (value === null || value === undefined) return "-";
  if (typeof value === "boolean") return value ? "on" : "off";
  return Array.isArray(value) ? value.join(",") : String(value);
}
