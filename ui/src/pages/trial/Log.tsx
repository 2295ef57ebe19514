import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { logQuery } from "~/api/queries";
import { type TrialSearch, trialSearch } from "./search";

const LINES = 200;
const CHOICES = [LINES, 1_000, 10_000];

/** The end of the server's log: followed while the trial runs, and searched. */
export function Log({ name, number, running }: { name: string; number: number; running: boolean }) {
  const search = trialSearch({ ...useSearch({ from: "/signed-in/studies/$name/trials/$trial" }) });
  const navigate = useNavigate();
  const [follow, setFollow] = useState(true);
  const lines = search.lines ?? LINES;
  const { data, error } = useQuery(logQuery(name, number, lines, running && follow));
  const box = useRef<HTMLDivElement>(null);
  const find = search.find?.toLowerCase() ?? "";
  const all = data?.lines ?? [];
  const shown = find ? all.filter((line) => line.toLowerCase().includes(find)) : all;
  const last = all.at(-1);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new last line is what scrolls
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [follow, last, shown.length]);
  const change = (part: TrialSearch) =>
    navigate({
      to: "/studies/$name/trials/$trial",
      params: { name, trial: String(number) },
      search: (before) => ({ ...before, ...part }),
      replace: true,
      resetScroll: false,
    });
  return (
    <section className="panel" aria-label="Log">
      <header>
        <h2>Log</h2>
        <search className="bar">
          <input
            type="search"
            aria-label="Find in the log"
            placeholder="Find"
            value={search.find ?? ""}
            onChange={(event) => change({ find: event.target.value })}
          />
          <label>
            last
            <select value={lines} onChange={(event) => change({ lines: Number(event.target.value) })}>
              {[...new Set([...CHOICES, lines])].map((count) => (
                <option key={count} value={count}>
                  {count}
                </option>
              ))}
            </select>
            lines
          </label>
          {running && (
            <label>
              <input type="checkbox" checked={follow} onChange={(event) => setFollow(event.target.checked)} />
              Follow
            </label>
          )}
        </search>
        <span className="quiet" role="status">
          {find && `${shown.length} of ${all.length} lines`}
        </span>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll log" ref={box} tabIndex={0} aria-label="Lines of the log">
        {shown.length > 0 ? (
          <pre>{shown.join("\n")}</pre>
        ) : (
          <p className="empty">
            {error
              ? error.message
              : !data
                ? "Reading the log…"
                : find
                  ? "No line contains this text."
                  : "There is no log: the server wrote nothing, or its file is on another machine or was deleted."}
          </p>
        )}
      </section>
    </section>
  );
}
