import { afterEach, expect, it, vi } from "vitest";
import { ApiError, request } from "./client";
import { known } from "./server";

afterEach(() => vi.unstubAllGlobals());

const answer = (status: number, version: string | null) =>
  vi.stubGlobal("fetch", async () =>
    Response.json({}, { status, headers: version === null ? {} : { "Autotuner-Version": version } }),
  );

it("notices an update by any answer, and that it was taken back", async () => {
  answer(200, "1.0.0");
  await request("/");
  expect(known().updatedTo).toBeNull();
  answer(502, null); // of a proxy while the server restarts
  await expect(request("/")).rejects.toThrow(ApiError);
  expect(known().updatedTo).toBeNull();
  answer(404, "1.1.0");
  await expect(request("/")).rejects.toThrow(ApiError);
  expect(known().updatedTo).toBe("1.1.0");
  answer(200, "1.0.0");
  await request("/");
  expect(known().updatedTo).toBeNull();
});

it("notices the end of the session, and the next one", async () => {
  answer(401, null);
  await expect(request("/")).rejects.toThrow(ApiError);
  expect(known().sessionEnded).toBe(true);
  answer(502, null);
  await expect(request("/")).rejects.toThrow(ApiError);
  expect(known().sessionEnded).toBe(true);
  answer(201, "1.0.0");
  await request("/");
  expect(known().sessionEnded).toBe(false);
});
