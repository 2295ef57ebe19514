import type { Unit } from "~/api/types";
import { bare, chance, percent, plain, withUnit } from "~/format/numbers";

interface Props {
  /** Where `autotuner show --json` has the value: `trials.3.verdict.objectives.0`. */
  path: string;
  value: number | null | undefined;
  unit?: Unit;
  /** Without its unit, which the title of a column has. */
  short?: boolean;
}

/** A measured number. It carries its exact value and its place in the JSON, so that a test can compare all of them. */
export function Figure({ path, value, unit, short = false }: Props) {
  if (value === null || value === undefined) return <span className="quiet">–</span>;
  const text = unit === undefined ? plain(value) : short ? bare(unit, value) : withUnit(unit, value);
  return (
    <data value={value} data-json={path}>
      {text}
    </data>
  );
}

/** An estimated probability. */
export function Chance({ path, value }: { path: string; value: number }) {
  return (
    <data value={value} data-json={path}>
      {chance(value)}
    </data>
  );
}

/** A share or a relative change. */
export function Percent({ path, value, sign = true }: { path: string; value: number; sign?: boolean }) {
  return (
    <data value={value} data-json={path}>
      {percent(value, sign)}
    </data>
  );
}
