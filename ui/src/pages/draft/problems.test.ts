import { expect, it } from "vitest";
import { isWithin, placed, problemText } from "./problems";

const [first, second, third] = placed([
  { where: "study:12 workload.concurrency[0]", value: "0", why: "must be at least 1", remedy: "" },
  { where: "deploy.image", value: "", why: "only an administrator may set it", remedy: "ask one" },
  { where: "study", value: "", why: "holds a secret", remedy: "" },
]);

it("finds line and path of a problem", () => {
  expect([first?.line, first?.path]).toEqual([12, "workload.concurrency[0]"]);
  expect([second?.line, second?.path]).toEqual([null, "deploy.image"]);
  expect(third?.path).toBe("");
});

it("gives a problem to the field that it is in", () => {
  if (!first) throw new Error();
  expect(isWithin(first, ["workload", "concurrency"])).toBe(true);
  expect(isWithin(first, ["workload"])).toBe(true);
  expect(isWithin(first, ["workload", "conc"])).toBe(false);
  expect(isWithin({ ...first, path: "parameters.max-num-seqs[1]" }, ["parameters", "max_num_seqs"])).toBe(
    true,
  );
});

it("says what is wrong and what to do", () => {
  expect(second && problemText(second)).toBe("only an administrator may set it; ask one");
  expect(first && problemText(first)).toBe("0: must be at least 1");
});
