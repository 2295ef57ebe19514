import { valueText } from "~/format/values";

/** Settings that the server chose itself at start. */
export function Resolved({ resolved }: { resolved: Readonly<Record<string, unknown>> }) {
  const entries = Object.entries(resolved).filter(([name]) => name !== "simulated");
  if (entries.length === 0) return null;
  return (
    <section className="panel" aria-label="Resolved settings">
      <details>
        <summary>
          <h2>Resolved settings</h2>{" "}
          <span className="quiet">{entries.length}, as the server reported them</span>
        </summary>
        <dl className="scalars mono">
          {entries.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                {typeof value === "object" && !Array.isArray(value)
                  ? JSON.stringify(value)
                  : valueText(value)}
              </dd>
            </div>
          ))}
        </dl>
      </details>
    </section>
  );
}
