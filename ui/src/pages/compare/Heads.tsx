import type { CompareColumn } from "./columns";

/** The head of a table with one column per trial. */
export function Heads({ first, columns }: { first: string; columns: readonly CompareColumn[] }) {
  return (
    <thead>
      <tr>
        <th scope="col">{first}</th>
        {columns.map((column, i) => (
          <th key={column.id} scope="col" className="number">
            <span className={`line series-${i % 8}`} /> {column.title}
          </th>
        ))}
      </tr>
    </thead>
  );
}
