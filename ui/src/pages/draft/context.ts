import { createContext, useContext } from "react";
import type { CatalogEntry } from "~/api/types";
import type { Draft, Path } from "./draft";
import type { PlacedProblem } from "./problems";
import type { Schema } from "./schema";

/** What fields of a study share. */
export interface Drafting {
  draft: Draft;
  schema: Schema;
  /** Kind of engine, deployer, benchmark and search, by section. */
  kinds: Readonly<Record<string, string>>;
  /** Parameters of the engine; empty until they are read, and for one that is not known. */
  catalog: readonly CatalogEntry[];
  problems: readonly PlacedProblem[];
  change: (path: Path, value: unknown) => void;
  rename: (path: Path, name: string) => void;
  /** The name may not be changed. */
  named: boolean;
}

export const DraftingContext = createContext<Drafting | null>(null);

export function useDrafting(): Drafting {
  const found = useContext(DraftingContext);
  if (found === null) throw new Error("fields need a study");
  return found;
}
