import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { pickedIds, type StudySearch, studySearch } from "./search";

/** The address of a study's page, and how to change it. */
export function useStudyPage() {
  const { name } = useParams({ from: "/signed-in/studies/$name" });
  const given = useSearch({ from: "/signed-in/studies/$name" });
  // The router adds what it validated to what the address says; only the former counts.
  const search = useMemo(() => studySearch({ ...given }), [given]);
  const navigate = useNavigate();
  const picked = useMemo(() => pickedIds(search), [search]);
  const change = useCallback(
    (part: { [K in keyof StudySearch]: StudySearch[K] | undefined }) =>
      navigate({
        to: "/studies/$name",
        params: { name },
        search: (before) => {
          const after = Object.entries({ ...before, ...part });
          return Object.fromEntries(
            after.filter(([, value]) => value !== undefined && value !== "" && value !== false),
          );
        },
        replace: true,
        resetScroll: false,
      }),
    [navigate, name],
  );
  const pick = useCallback((ids: readonly string[]) => change({ pick: ids.join(".") }), [change]);
  const open = useCallback(
    (trial: string) => navigate({ to: "/studies/$name/trials/$trial", params: { name, trial } }),
    [navigate, name],
  );
  return { name, search, picked, change, pick, open };
}
