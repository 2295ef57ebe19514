import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { trialQuery } from "~/api/queries";
import { Latencies } from "~/pages/trial/LatenciesPanel";

/** How the latencies of a trial are distributed, with the default's behind them. */
export function LatenciesOf({ name, trial, root }: { name: string; trial: number; root: string }) {
  const details = useQuery(trialQuery(name, trial)).data;
  const [window, setWindow] = useState<string | undefined>();
  if (!details) return null;
  return <Latencies details={details} name={name} window={window} onWindow={setWindow} root={root} />;
}
