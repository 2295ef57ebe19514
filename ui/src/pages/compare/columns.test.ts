import { expect, it } from "vitest";
import type { TrialDetails } from "~/api/types";
import { differences, settingsOf } from "./columns";
import { compareSearch, numbersIn } from "./search";

const trial = (argv: string[], values: Record<string, unknown> = {}) =>
  ({
    trial: { argv, address_flags: ["--host", "--port"], configuration: { values } },
  }) as unknown as TrialDetails;

it("reads the flags of a command line, without its address", () => {
  const words = "srv -m model.gguf --host 127.0.0.1 --port 80 --ctx=512 --flash-attn --bias -1 --list a b";
  expect([...settingsOf(trial(words.split(" ")))]).toEqual([
    ["-m", "model.gguf"],
    ["--ctx", "512"],
    ["--flash-attn", "on"],
    ["--bias", "-1"],
    ["--list", "a b"],
  ]);
  expect([...settingsOf(trial([], { parallel: 4, cache: true }))]).toEqual([
    ["parallel", "4"],
    ["cache", "on"],
  ]);
});

it("shows only what differs", () => {
  const columns = [
    new Map([
      ["a", "1"],
      ["b", "2"],
    ]),
    new Map([
      ["a", "1"],
      ["c", "3"],
    ]),
  ];
  expect(differences(columns)).toEqual([
    { name: "b", values: ["2", null] },
    { name: "c", values: [null, "3"] },
  ]);
});

it("reads numbers of trials from the address", () => {
  expect([numbersIn("1,4,1"), numbersIn("3.5"), numbersIn("x"), numbersIn(undefined)]).toEqual([
    [1, 4],
    [3, 5],
    null,
    null,
  ]);
  expect(compareSearch({ trials: 4, with: "other", at: "", x: 1 })).toEqual({ trials: "4", with: "other" });
});
