import { expect, it } from "vitest";
import { tokenState } from "./tokens";

it("tells valid tokens from expired and revoked ones", () => {
  expect(tokenState({ revoked_at: null, expires_at: null }, 10)).toBe("valid");
  expect(tokenState({ revoked_at: null, expires_at: 11 }, 10)).toBe("valid");
  expect(tokenState({ revoked_at: null, expires_at: 10 }, 10)).toBe("expired");
  expect(tokenState({ revoked_at: 5, expires_at: 11 }, 10)).toBe("revoked");
});
