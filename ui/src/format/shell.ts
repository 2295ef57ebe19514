/** What the server puts in the place of a secret. */
const HIDDEN = "***";

/** A command with its environment variables, as a shell reads it. Secrets become references to variables. */
export function shellLine(words: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const variables = Object.entries(env).map(
    ([name, value]) => `${name}=${value.includes(HIDDEN) ? `"$${name}"` : quoted(value)}`,
  );
  return [...variables, ...words.map(quoted)].join(" ");
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}
