import type { StudyEvidence } from "~/api/types";

type Table = NonNullable<StudyEvidence["gpus"]>;

/** A table of texts, as the command line formats them. */
export function TablePanel({ table }: { table: Table }) {
  return (
    <section className="panel" aria-label={table.title}>
      <header>
        <h2>{table.title}</h2>
      </header>
      <TextTable table={table} />
    </section>
  );
}

export function TextTable({ table }: { table: Table }) {
  return (
    <>
      {table.note && <p className="body small quiet">{table.note}</p>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll" tabIndex={0} aria-label={`Table: ${table.title}`}>
        <table className="texts">
          <thead>
            <tr>
              {table.heads.map((head, i) => (
                <th key={head} scope="col" className={table.numbers.includes(i) ? "number" : undefined}>
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {table.rows.map((cells, k) => (
              // Rows of windows have no names of their own.
              // biome-ignore lint/suspicious/noArrayIndexKey: see above
              <tr key={k}>
                {cells.map((cell, i) =>
                  i === 0 ? (
                    <th key={table.heads[i]} scope="row">
                      {cell}
                    </th>
                  ) : (
                    <td key={table.heads[i]} className={table.numbers.includes(i) ? "number" : "text"}>
                      {cell}
                    </td>
                  ),
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {table.left_out > 0 && (
        <p className="body small quiet">
          {table.left_out.toLocaleString("en-US")} more rows are in the CSV export.
        </p>
      )}
    </>
  );
}
