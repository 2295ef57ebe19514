import {
  createHashHistory,
  createRootRoute,
  createRoute,
  createRouter,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { Failed, NotFound } from "~/components/states";
import { ComparePage } from "~/pages/compare/ComparePage";
import { compareSearch } from "~/pages/compare/search";
import { studySearch } from "~/pages/study/search";
import { trialSearch } from "~/pages/trial/search";
import { TrialPage } from "~/pages/trial/TrialPage";
import { ReportPage } from "./ReportPage";
import { ReportShell } from "./ReportShell";

/** The pages of a report. They have the addresses of the web UI, whose components they are made of, behind a `#`. */
export function reportRouter(study: string) {
  const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });
  const frame = createRoute({ getParentRoute: () => root, id: "signed-in", component: ReportShell });
  const toReport = () => {
    throw redirect({ to: "/studies/$name", params: { name: study }, replace: true });
  };
  const home = createRoute({ getParentRoute: () => frame, path: "/", beforeLoad: toReport });
  const studies = createRoute({ getParentRoute: () => frame, path: "/studies", beforeLoad: toReport });
  const report = createRoute({
    getParentRoute: () => frame,
    path: "/studies/$name",
    validateSearch: studySearch,
    component: ReportPage,
  });
  const trial = createRoute({
    getParentRoute: () => frame,
    path: "/studies/$name/trials/$trial",
    validateSearch: trialSearch,
    component: TrialPage,
  });
  const compare = createRoute({
    getParentRoute: () => frame,
    path: "/studies/$name/compare",
    validateSearch: compareSearch,
    component: ComparePage,
  });
  return createRouter({
    routeTree: root.addChildren([frame.addChildren([home, studies, report, trial, compare])]),
    history: createHashHistory(),
    defaultErrorComponent: Failed,
    defaultNotFoundComponent: NotFound,
    scrollRestoration: true,
  });
}
