import { useQuery } from "@tanstack/react-query";
import { studyQuery } from "~/api/queries";
import { CapacityLevels } from "~/components/CapacityLevels";

/** The capacity searches of a trial. */
export function Capacities({ name, number }: { name: string; number: number }) {
  const { data } = useQuery(studyQuery(name));
  const row = data?.trials.find((one) => one.number === number);
  return row?.capacities.map((curve, i) => (
    <section key={curve.scenario} className="panel" aria-label={`Capacity of ${curve.scenario}`}>
      <header>
        <h2>Capacity</h2>
        <span className="mono quiet">{curve.scenario}</span>
      </header>
      <CapacityLevels curve={curve} path={`trial.capacities.${i}`} />
    </section>
  ));
}
