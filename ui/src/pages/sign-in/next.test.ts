import { expect, it } from "vitest";
import { localAddress } from "./next";

it("leads back to every page, and to no other site", () => {
  for (const page of [
    "/studies",
    "/studies/chat?sort=-gain",
    "/new?from=x",
    "/presets",
    "/fleet",
    "/settings",
  ]) {
    expect(localAddress(page)).toBe(page);
  }
  expect(localAddress("/doctor?study=chat")).toBe("/doctor?study=chat");
  for (const other of ["//evil.example", "https://evil.example", "/sign-in", "/newer", undefined, 1]) {
    expect(localAddress(other)).toBe("/studies");
  }
});
