import { useQuery } from "@tanstack/react-query";
import { trialQuery, winnerQuery } from "~/api/queries";
import type { StudyDetails } from "~/api/types";
import { Copyable } from "~/components/Copyable";
import { Changes } from "~/pages/trial/Changes";

/** How to start the winner, and what it changes. */
export function UsePanel({ details, winner }: { details: StudyDetails; winner: number }) {
  const { name } = details;
  const command = useQuery(winnerQuery(name, "command", {})).data?.trim();
  const trial = useQuery(trialQuery(name, winner)).data;
  return (
    <>
      {command && (
        <section className="panel" aria-label="Command">
          <header>
            <h2>{winner === details.default ? `Start the ${details.reference}` : "Start it"}</h2>
          </header>
          <div className="body">
            <Copyable text={command} label="command" />
          </div>
        </section>
      )}
      {trial && winner !== details.default && <Changes details={trial} />}
    </>
  );
}
