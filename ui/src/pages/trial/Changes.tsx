import type { TrialDetails } from "~/api/types";
import { valueText } from "~/format/values";

/** The flags and variables by which its command line differs from that of the study's default or baseline; otherwise
 * its values. */
export function Changes({ details }: { details: TrialDetails }) {
  const { trial, reference, argv_changes: changes } = details;
  const values = Object.entries(trial.configuration.values ?? {});
  const own = trial.role === "default" ? `the study's ${reference}` : "";
  return (
    <section className="panel" aria-label="Configuration">
      <header>
        <h2>Configuration</h2>
        <span className="quiet small">
          {changes.length > 0 ? `against the ${reference}'s command line` : own}
        </span>
      </header>
      {changes.length > 0 ? (
        <Table
          columns={[reference === "baseline" ? "Baseline" : "Default", "This trial"]}
          rows={changes.map((one) => [one.flag, one.default ?? "–", one.trial ?? "–"])}
        />
      ) : values.length > 0 ? (
        <Table columns={["This trial"]} rows={values.map(([name, value]) => [name, valueText(value)])} />
      ) : (
        <p className="empty">All parameters have the engine's defaults.</p>
      )}
    </section>
  );
}

function Table({ columns, rows }: { columns: readonly string[]; rows: readonly (readonly string[])[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="scroll" tabIndex={0} aria-label="Settings">
      <table>
        <thead>
          <tr>
            <th scope="col">Setting</th>
            {columns.map((title) => (
              <th scope="col" className="number" key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody className="mono">
          {rows.map(([name, ...cells]) => (
            <tr key={name}>
              <td>{name}</td>
              {cells.map((cell, i) => (
                <td className={i < columns.length - 1 ? "number quiet" : "number"} key={columns[i]}>
                  {cell === "" ? "on" : cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
