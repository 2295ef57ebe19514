import { Link } from "@tanstack/react-router";
import type { StudyDetails } from "~/api/types";
import { moment } from "~/format/time";

const FACTS: readonly { name: string; of: (study: StudyDetails) => string }[] = [
  { name: "Model", of: (study) => study.model },
  { name: "Engine", of: (study) => study.engines.join(", ") },
  { name: "Deployer", of: (study) => study.deployers.join(", ") },
  { name: "Objectives", of: (study) => study.objectives.join("; ") },
  { name: "SLOs", of: (study) => study.slos.join("; ") || "none" },
  { name: "Loads", of: (study) => loads(study).join("; ") },
  { name: "Parameters", of: (study) => study.parameters.join(", ") },
  { name: "Launches", of: (study) => String(study.launches) },
  { name: "State", of: (study) => study.standing },
  { name: "Created", of: (study) => moment(study.created_at) },
];

/** What two studies are about: only what differs, and their answers. */
export function StudiesTable({ studies }: { studies: readonly StudyDetails[] }) {
  const rows = FACTS.map(({ name, of }) => ({ name, values: studies.map(of) }));
  const differ = rows.filter(({ values }) => new Set(values).size > 1);
  const same = rows.filter(({ values }) => new Set(values).size === 1).map(({ name }) => name.toLowerCase());
  return (
    <section className="panel" aria-label="Studies">
      <header>
        <h2>Studies</h2>
        <span className="quiet small">{same.length > 0 && `the same: ${same.join(", ")}`}</span>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll" tabIndex={0} aria-label="Both studies">
        <table className="compare wrapping">
          <thead>
            <tr>
              <th scope="col">Study</th>
              {studies.map((study) => (
                <th key={study.name} scope="col">
                  <Link to="/studies/$name" params={{ name: study.name }}>
                    {study.name}
                  </Link>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <tr>
              <th scope="row">Answer</th>
              {studies.map((study) => (
                <td key={study.name}>{study.headline}</td>
              ))}
            </tr>
            {differ.map(({ name, values }) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {values.map((value, i) => (
                  <td key={studies[i]?.name}>{value}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </section>
  );
}

function loads(study: StudyDetails): string[] {
  const found = study.trials.flatMap((row) =>
    row.windows.map((window) => `${window.scenario} ${window.level}`),
  );
  return [...new Set(found)];
}
