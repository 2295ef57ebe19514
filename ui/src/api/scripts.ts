// Scripts of pages, which are loaded when a page is first opened.

import { request, requestText } from "./client";
import { OutdatedError, ScriptError } from "./server";

/** Pauses between the attempts: a connection that broke, and a server that is busy for a moment. */
const PAUSES_MS = [300, 1_500];

/** Loads a script. Throws an `ApiError` if the server does not answer or the session has ended, an `OutdatedError` if
 * the server has another build of this UI, otherwise a `ScriptError`. */
export async function loadScript<T>(
  load: () => Promise<T>,
  pausesMs: readonly number[] = PAUSES_MS,
): Promise<T> {
  for (const pauseMs of pausesMs) {
    try {
      return await load();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
  try {
    return await load();
  } catch {
    return await explainMissing();
  }
}

async function explainMissing(): Promise<never> {
  await request("/api/v1/session");
  // The name of the main script contains a digest of its content, and that the names of the others.
  const own = document.querySelector("script[type=module][src]")?.getAttribute("src");
  const current = await requestText("/");
  if (own && !current.includes(own)) throw new OutdatedError("the server has another build of this page");
  throw new ScriptError("a script cannot be loaded");
}
