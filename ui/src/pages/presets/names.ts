/** The name of a preset for a file: without its folder and ending, and with dashes for what names may not have. */
export function nameFor(file: string): string {
  return file
    .replace(/\.(ya?ml|json)$/i, "")
    .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[._-]+/, "")
    .slice(0, 63);
}
