import { expect, it } from "vitest";
import { axisTitle } from "./axisTitle";

const COST = "cost per million output tokens, USD/1M tokens";

it("keeps what fits, the name before the unit", () => {
  expect(axisTitle("output throughput, tokens/s", 206)).toBe("output throughput, tokens/s");
  expect(axisTitle(COST, 206)).toBe("cost per million output tokens");
  expect(axisTitle(COST, 100)).toBe("USD/1M tokens");
  expect(axisTitle("tokens/s @all (better →)", 50)).toBe("tokens/s @all (better →)");
});
