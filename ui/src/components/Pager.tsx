interface Props {
  /** What the pages show, as their name for screen readers. */
  label: string;
  /** From 1. */
  page: number;
  rowsPerPage: number;
  total: number;
  onPage: (page: number) => void;
}

/** Steps through the pages of a long list; nothing for one that fits on a page. */
export function Pager({ label, page, rowsPerPage, total, onPage }: Props) {
  if (total <= rowsPerPage) return null;
  const first = (page - 1) * rowsPerPage + 1;
  const last = Math.min(total, page * rowsPerPage);
  return (
    <nav className="pager" aria-label={label}>
      <button type="button" disabled={page <= 1} onClick={() => onPage(page - 1)}>
        Previous
      </button>
      <span>
        {first} to {last} of {total}
      </span>
      <button type="button" disabled={last >= total} onClick={() => onPage(page + 1)}>
        Next
      </button>
    </nav>
  );
}
