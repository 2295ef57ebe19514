import { createContext, useContext } from "react";
import type { ReportData } from "./data";

export const ReportContext = createContext<ReportData | null>(null);

/** The data of this file. */
export function useReport(): ReportData {
  const data = useContext(ReportContext);
  if (data === null) throw new Error("only a report has data of its own");
  return data;
}
