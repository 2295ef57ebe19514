import type { TrialDetails } from "~/api/types";
import { valueText } from "~/format/values";

/** The tuned values, and the flags and variables by which its command line differs from the default's. */
export function Changes({ details }: { details: TrialDetails }) {
  const values = Object.entries(details.trial.configuration.values ?? {});
  return (
    <section className="panel" aria-label="Configuration">
      <header>
        <h2>Configuration</h2>
        <span className="quiet small">against the default's command line</span>
      </header>
      {details.argv_changes.length > 0 ? (
        <Table rows={details.argv_changes.map((one) => [one.flag, one.default ?? "–", one.trial ?? "–"])} />
      ) : values.length > 0 ? (
        <Table rows={values.map(([name, value]) => [name, "–", valueText(value)])} />
      ) : (
        <p className="empty">The same as the default.</p>
      )}
    </section>
  );
}

function Table({ rows }: { rows: readonly (readonly [string, string, string])[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="scroll" tabIndex={0} aria-label="Differences">
      <table>
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col" className="number">
              Default
            </th>
            <th scope="col" className="number">
              This trial
            </th>
          </tr>
        </thead>
        <tbody className="mono">
          {rows.map(([name, before, after]) => (
            <tr key={name}>
              <td>{name}</td>
              <td className="number quiet">{before === "" ? "on" : before}</td>
              <td className="number">{after === "" ? "on" : after}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
