import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { ApiError } from "./api/client";
import { client, sessionQuery, studyQuery, studyRowsQuery } from "./api/queries";
import { loadScript } from "./api/scripts";
import { Shell } from "./components/Shell";
import { Failed, NotFound } from "./components/states";
import { compareSearch } from "./pages/compare/search";
import { doctorSearch } from "./pages/doctor/search";
import { draftSearch } from "./pages/draft/search";
import { SignInPage } from "./pages/sign-in/SignInPage";
import { wantedRows } from "./pages/studies/rows";
import { studiesSearch } from "./pages/studies/search";
import { studySearch } from "./pages/study/search";
import { trialSearch } from "./pages/trial/search";

/** A page whose script is loaded when it is opened.
 *
 * The router would reload the page by itself when that fails, even if the server does not answer.
 */
function lazy<T extends Record<string, unknown>, K extends keyof T>(load: () => Promise<T>, name: K) {
  return lazyRouteComponent(() => loadScript(load), name);
}

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound });

const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  validateSearch: (search: Record<string, unknown>): { next?: string } => search,
  component: SignInPage,
});

/** Everything that needs a session. */
const signedIn = createRoute({
  getParentRoute: () => root,
  id: "signed-in",
  component: Shell,
  beforeLoad: async ({ location }) => {
    try {
      await client.ensureQueryData(sessionQuery);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        throw redirect({ to: "/sign-in", search: location.href === "/" ? {} : { next: location.href } });
      }
      throw error;
    }
  },
});

const home = createRoute({
  getParentRoute: () => signedIn,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/studies", replace: true });
  },
});

const studies = createRoute({
  getParentRoute: () => signedIn,
  path: "/studies",
  validateSearch: studiesSearch,
  component: lazy(() => import("./pages/studies/StudiesPage"), "StudiesPage"),
});

const draft = createRoute({
  getParentRoute: () => signedIn,
  path: "/new",
  validateSearch: draftSearch,
  component: lazy(() => import("./pages/draft/DraftPage"), "DraftPage"),
});

const presets = createRoute({
  getParentRoute: () => signedIn,
  path: "/presets",
  component: lazy(() => import("./pages/presets/PresetsPage"), "PresetsPage"),
});

const fleet = createRoute({
  getParentRoute: () => signedIn,
  path: "/fleet",
  component: lazy(() => import("./pages/fleet/FleetPage"), "FleetPage"),
});

const doctor = createRoute({
  getParentRoute: () => signedIn,
  path: "/doctor",
  validateSearch: doctorSearch,
  component: lazy(() => import("./pages/doctor/DoctorPage"), "DoctorPage"),
});

const settings = createRoute({
  getParentRoute: () => signedIn,
  path: "/settings",
  component: lazy(() => import("./pages/settings/SettingsPage"), "SettingsPage"),
});

const study = createRoute({
  getParentRoute: () => signedIn,
  path: "/studies/$name",
  validateSearch: studySearch,
  component: lazy(() => import("./pages/study/StudyPage"), "StudyPage"),
});

const trial = createRoute({
  getParentRoute: () => signedIn,
  path: "/studies/$name/trials/$trial",
  validateSearch: trialSearch,
  component: lazy(() => import("./pages/trial/TrialPage"), "TrialPage"),
});

const winner = createRoute({
  getParentRoute: () => signedIn,
  path: "/studies/$name/winner",
  component: lazy(() => import("./pages/winner/WinnerPage"), "WinnerPage"),
});

const compare = createRoute({
  getParentRoute: () => signedIn,
  path: "/studies/$name/compare",
  validateSearch: compareSearch,
  component: lazy(() => import("./pages/compare/ComparePage"), "ComparePage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    signedIn.addChildren([
      home,
      studies,
      draft,
      presets,
      fleet,
      doctor,
      settings,
      study,
      trial,
      winner,
      compare,
    ]),
  ]),
  defaultErrorComponent: Failed,
  defaultNotFoundComponent: NotFound,
  defaultPreload: "intent",
  scrollRestoration: true,
});

/** Begins to load the session and the script and data of the first page at once, instead of one after another. */
export function loadEarly(): void {
  if (router.latestLocation.pathname === signIn.fullPath) return; // there is no session yet
  client.prefetchQuery(sessionQuery);
  for (const { routeId, params, search } of router.matchRoutes(router.latestLocation)) {
    const route = router.routesById[routeId as keyof typeof router.routesById];
    const page: { preload?: () => unknown } | undefined = route.options.component;
    page?.preload?.();
    if (route === studies) client.prefetchQuery(studyRowsQuery(wantedRows(studiesSearch({ ...search }))));
    if (route === study) client.prefetchQuery(studyQuery(params.name));
  }
}

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
