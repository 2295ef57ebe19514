import { Link, Outlet } from "@tanstack/react-router";
import { ThemeSwitch } from "~/components/ThemeSwitch";
import { useReport } from "./context";

/** The frame around the pages of a report. */
export function ReportShell() {
  const { study, version } = useReport();
  return (
    <>
      <button type="button" className="skip" onClick={() => document.getElementById("main")?.focus()}>
        Skip to the content
      </button>
      <header className="top">
        <Link to="/studies/$name" params={{ name: study }} className="brand" aria-label="Tuning report">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M4 24 12 15l6 5L28 7" />
            <circle cx="28" cy="7" r="3" />
          </svg>
          <span>Tuning report</span>
        </Link>
        <span className="grow" />
        <ThemeSwitch />
      </header>
      <main id="main" className="page report" tabIndex={-1}>
        <Outlet />
      </main>
      <footer className="report-foot quiet small">Written by LLM Inference Autotuner {version}</footer>
    </>
  );
}
