import { ApiError } from "~/api/client";

/** An error where it happened: what, and what to do about it. */
export function Problem({ error }: { error: unknown }) {
  if (error === null || error === undefined) return null;
  const hint = error instanceof ApiError ? error.hint : "";
  const message = error instanceof Error ? error.message : String(error);
  return (
    <div className="problem" role="alert">
      <p className="bad">{sentence(message)}</p>
      {hint && <p className="quiet">{sentence(hint)}</p>}
    </div>
  );
}

/** A message as a sentence: those of the server begin in lower case, unless with a name. A command stays as it is. */
function sentence(text: string): string {
  return text.startsWith("autotuner ") ? text : text.charAt(0).toUpperCase() + text.slice(1);
}
