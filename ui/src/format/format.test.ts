import { describe, expect, it } from "vitest";
import type { Unit } from "~/api/types";
import { bare, chance, percent, plain, shownUnit, usd, withUnit } from "./numbers";
import { shellLine } from "./shell";
import texts from "./texts.json";
import { age, duration } from "./time";
import { valueText } from "./values";

describe("texts are those of the command line", () => {
  it.each(texts.plain as [number, string][])("plain %f", (value, text) => {
    expect(plain(value)).toBe(text);
  });
  it.each(texts.usd as [number, string][])("usd %f", (value, text) => {
    expect(usd(value)).toBe(text);
  });
  it.each(texts.percent as [number, string, string][])("percent %f", (value, signed, unsigned) => {
    expect([percent(value), percent(value, false)]).toEqual([signed, unsigned]);
  });
  it.each(texts.chance as [number, string][])("chance %f", (value, text) => {
    expect(chance(value)).toBe(text);
  });
  it.each(texts.withUnit as [Unit, number, string][])("%s %f", (unit, value, text) => {
    expect(withUnit(unit, value)).toBe(text);
  });
  it.each(texts.duration as [number, string][])("duration %f", (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });
  it.each(texts.age as [number, string][])("age %f", (seconds, text) => {
    expect(age(seconds)).toBe(text);
  });
});

it("shows a unit once: in the title or with the value", () => {
  expect([bare("s", 0.4), shownUnit("s")]).toEqual(["400", "ms"]);
  expect([bare("ratio", 0.995), shownUnit("ratio")]).toEqual(["99.5", "%"]);
  expect(withUnit("s", null)).toBe("–");
});

it("shows parameter values as the command line does", () => {
  expect([true, false, null, [1, 2], "x", 0.5].map(valueText)).toEqual(["on", "off", "-", "1,2", "x", "0.5"]);
});

describe("a command", () => {
  it("has its environment in front, quoted for a shell", () => {
    expect(shellLine(["serve", "--name", "a b"], { THREADS: "1", FLAGS: "it's" })).toBe(
      `THREADS=1 FLAGS='it'"'"'s' serve --name 'a b'`,
    );
  });

  it("refers to secrets, which are not shown", () => {
    expect(shellLine(["serve"], { HF_TOKEN: "***" })).toBe('HF_TOKEN="$HF_TOKEN" serve');
  });
});
