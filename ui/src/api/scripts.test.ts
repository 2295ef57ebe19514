import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "./client";
import { loadScript } from "./scripts";
import { OutdatedError, ScriptError } from "./server";

const OWN = "/assets/index-1Q0dgvRv.js";
const NO_PAUSES = [0, 0];

beforeEach(() => {
  vi.stubGlobal("document", { querySelector: () => ({ getAttribute: () => OWN }) });
});

afterEach(() => vi.unstubAllGlobals());

/** A server whose page names a script. */
const serve = (script: string) =>
  vi.stubGlobal("fetch", async (path: string) =>
    path === "/" ? new Response(`<script type="module" src="${script}"></script>`) : Response.json({}),
  );

/** A script that arrives after some attempts. */
function arriving(failures: number) {
  return vi.fn(async () => {
    if (load.mock.calls.length <= failures)
      throw new TypeError("Failed to fetch dynamically imported module");
    return "loaded";
  });
}

let load = arriving(0);

it("loads a script again that was lost", async () => {
  load = arriving(2);
  expect(await loadScript(load, NO_PAUSES)).toBe("loaded");
  expect(load).toHaveBeenCalledTimes(3);
});

it("calls the page outdated only if the server has another build", async () => {
  load = arriving(3);
  serve(OWN);
  await expect(loadScript(load, NO_PAUSES)).rejects.toThrow(ScriptError);
  load = arriving(3);
  serve("/assets/index-AUwXZZr8.js");
  await expect(loadScript(load, NO_PAUSES)).rejects.toThrow(OutdatedError);
});

it("says that the server does not answer", async () => {
  load = arriving(3);
  vi.stubGlobal("fetch", async () => {
    throw new TypeError("Failed to fetch");
  });
  await expect(loadScript(load, NO_PAUSES)).rejects.toThrow(ApiError);
});
