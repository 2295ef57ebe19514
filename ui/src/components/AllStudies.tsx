import { Link } from "@tanstack/react-router";
import { isOffline } from "~/api/client";

/** The first step of a path to a page. A report has one study only. */
export function AllStudies({ last = false }: { last?: boolean }) {
  if (isOffline()) return null;
  return (
    <>
      <Link to="/studies">Studies</Link>
      {!last && (
        <>
          {" "}
          <span aria-hidden="true">/</span>{" "}
        </>
      )}
    </>
  );
}
