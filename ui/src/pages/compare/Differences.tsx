import { type CompareColumn, differences } from "./columns";
import { Heads } from "./Heads";

interface Props {
  title: string;
  columns: readonly CompareColumn[];
  maps: readonly ReadonlyMap<string, string>[];
  /** Whether everything was read. */
  ready: boolean;
  /** Left out if nothing differs. */
  optional?: boolean;
}

/** Settings that differ among the columns. */
export function Differences({ title, columns, maps, ready, optional = false }: Props) {
  const rows = ready ? differences(maps) : [];
  if (optional && rows.length === 0) return null;
  return (
    <section className="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <span className="quiet small">only what differs</span>
      </header>
      {rows.length === 0 ? (
        <p className="empty">{ready ? "All settings are the same." : "Reading the trials…"}</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <section className="scroll" tabIndex={0} aria-label={`Differences of ${title.toLowerCase()}`}>
          <table className="compare">
            <Heads first="Setting" columns={columns} />
            <tbody className="mono">
              {rows.map((row) => (
                <tr key={row.name}>
                  <th scope="row">{row.name}</th>
                  {row.values.map((value, i) => (
                    <td key={columns[i]?.id} className="number">
                      {value ?? <span className="quiet">–</span>}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}
