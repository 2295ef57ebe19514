import {
  type ColumnDef,
  createSortedRowModel,
  type Row,
  rowSortingFeature,
  type SortingState,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useMemo, useRef } from "react";
import { useIsLit, useLitStore } from "./lit";
import { usePrinting } from "./usePrinting";

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
type Features = typeof features;

const ROW_PX = 33;
const OVERSCAN = 12;
/** Tables with more rows draw only those in view. */
const VIRTUAL_FROM = 120;
/** Rows on paper. */
const MOST_PRINTED = 200;

export interface Column<T> {
  id: string;
  title: ReactNode;
  /** What the column is sorted by; null is last in both directions. Without it, the column cannot be sorted by. */
  value?: (row: T) => number | string | null;
  cell: (row: T) => ReactNode;
  number?: boolean;
  className?: string;
  /** Whether it stays in view at the end of a table that scrolls sideways. */
  pinned?: boolean;
  /** Whether the first click sorts the largest values first. */
  largestFirst?: boolean;
}

interface Props<T> {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  rowId: (row: T) => string;
  /** Id of the column, with a minus in front for descending; empty: the order of the rows. */
  sort: string;
  onSort: (sort: string) => void;
  /** Whether the rows come in this order already, as parts of a longer list. */
  inOrder?: boolean;
  /** Class of a row. */
  rowClass?: (row: T) => string;
  empty: ReactNode;
}

/** A sorted table within a box that scrolls. */
export function DataTable<T extends object>({
  label,
  columns,
  rows,
  rowId,
  sort,
  onSort,
  inOrder = false,
  rowClass,
  empty,
}: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const defs = useMemo(() => columns.map((column) => definition(column)), [columns]);
  const sorting = useMemo(() => sortingOf(sort), [sort]);
  const table = useTable({
    features,
    columns: defs,
    data: rows as T[],
    getRowId: rowId,
    state: { sorting },
    onSortingChange: (update) => onSort(sortOf(typeof update === "function" ? update(sorting) : update)),
    sortDescFirst: false,
    manualSorting: inOrder,
  });
  const printing = usePrinting();
  const sorted = table.getRowModel().rows;
  const drawn = printing ? sorted.slice(0, MOST_PRINTED) : sorted;
  const known = new Map(columns.map((column) => [column.id, column]));
  return (
    // A region that scrolls must be reachable by keyboard.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
    <section className="scroll" ref={box} tabIndex={0} aria-label={label}>
      <table aria-rowcount={sorted.length + 1}>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {group.headers.map((header) => {
                const column = known.get(header.column.id);
                const sorted = header.column.getIsSorted();
                return (
                  <th
                    key={header.id}
                    scope="col"
                    className={column?.number ? "number" : column?.pinned ? "pinned" : undefined}
                    aria-sort={sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : undefined}
                  >
                    {column?.value && !printing ? (
                      <button type="button" className="plain" onClick={() => header.column.toggleSorting()}>
                        {column.number && <Arrow sorted={sorted} />}
                        <span>{column.title}</span>
                        {!column.number && <Arrow sorted={sorted} />}
                      </button>
                    ) : (
                      <span className="title">{column?.title}</span>
                    )}
                  </th>
                );
              })}
            </tr>
          ))}
        </thead>
        {drawn.length > VIRTUAL_FROM && !printing ? (
          <VirtualBody box={box} rows={sorted} columns={columns} rowClass={rowClass} />
        ) : (
          <tbody>
            {drawn.map((row) => (
              <BodyRow key={row.id} id={row.id} row={row.original} columns={columns} rowClass={rowClass} />
            ))}
          </tbody>
        )}
      </table>
      {drawn.length < sorted.length && (
        <p className="empty">{sorted.length - drawn.length} more rows are in the file itself.</p>
      )}
      {sorted.length === 0 && <div className="empty">{empty}</div>}
    </section>
  );
}

function Arrow({ sorted }: { sorted: false | "asc" | "desc" }) {
  return (
    <span className="arrow" aria-hidden="true">
      {sorted === "asc" ? "↑" : sorted === "desc" ? "↓" : ""}
    </span>
  );
}

interface BodyProps<T> {
  columns: readonly Column<T>[];
  rowClass: ((row: T) => string) | undefined;
}

function BodyRow<T>({ id, row, columns, rowClass }: BodyProps<T> & { id: string; row: T }) {
  const store = useLitStore();
  const lit = useIsLit(id);
  return (
    <tr
      className={`${rowClass?.(row) ?? ""} ${lit ? "lit" : ""}`}
      onPointerEnter={() => store.set(id)}
      onPointerLeave={() => store.set(null)}
      onFocus={() => store.set(id)}
      onBlur={() => store.set(null)}
    >
      {columns.map((column) => (
        <td key={column.id} className={cellClass(column)}>
          {column.cell(row)}
        </td>
      ))}
    </tr>
  );
}

interface VirtualProps<T extends object> extends BodyProps<T> {
  box: React.RefObject<HTMLDivElement | null>;
  rows: readonly Row<Features, T>[];
}

function VirtualBody<T extends object>({ box, rows, columns, rowClass }: VirtualProps<T>) {
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: OVERSCAN,
  });
  const items = virtual.getVirtualItems();
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items.at(-1)?.end ?? 0);
  return (
    <tbody>
      {before > 0 && <Space height={before} span={columns.length} />}
      {items.map((item) => {
        const row = rows[item.index];
        return (
          row && <BodyRow key={row.id} id={row.id} row={row.original} columns={columns} rowClass={rowClass} />
        );
      })}
      {after > 0 && <Space height={after} span={columns.length} />}
    </tbody>
  );
}

function Space({ height, span }: { height: number; span: number }) {
  return (
    <tr>
      <td colSpan={span} style={{ height, padding: 0, border: 0 }} />
    </tr>
  );
}

function cellClass<T>(column: Column<T>): string | undefined {
  return (
    [column.number ? "number" : "", column.pinned ? "pinned" : "", column.className ?? ""]
      .filter(Boolean)
      .join(" ") || undefined
  );
}

function definition<T extends object>(column: Column<T>): ColumnDef<Features, T> {
  return {
    id: column.id,
    // Only undefined is kept last in both directions.
    accessorFn: (row) => column.value?.(row) ?? undefined,
    sortUndefined: "last",
    sortDescFirst: column.largestFirst ?? false,
    sortFn: (a, b, id) => compare(a.getValue(id), b.getValue(id)),
  };
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortingOf(sort: string): SortingState {
  return sort ? [{ id: sort.replace(/^-/, ""), desc: sort.startsWith("-") }] : [];
}

function sortOf(sorting: SortingState): string {
  const first = sorting[0];
  return first ? `${first.desc ? "-" : ""}${first.id}` : "";
}
