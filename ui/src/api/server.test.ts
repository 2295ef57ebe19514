import { afterEach, expect, it, vi } from "vitest";
import { ApiError, request } from "./client";
import { updatedTo } from "./version";

afterEach(() => vi.unstubAllGlobals());

const answer = (status: number, version: string | null) =>
  vi.stubGlobal("fetch", async () =>
    Response.json({}, { status, headers: version === null ? {} : { "Autotuner-Version": version } }),
  );

it("notices an update by any answer, and that it was taken back", async () => {
  answer(200, "1.0.0");
  await request("/");
  expect(updatedTo()).toBeNull();
  answer(502, null); // of a proxy while the server restarts
  await expect(request("/")).rejects.toThrow(ApiError);
  expect(updatedTo()).toBeNull();
  answer(404, "1.1.0");
  await expect(request("/")).rejects.toThrow(ApiError);
  expect(updatedTo()).toBe("1.1.0");
  answer(200, "1.0.0");
  await request("/");
  expect(updatedTo()).toBeNull();
});
