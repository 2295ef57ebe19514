const PAGES = /^\/(?:studies|new|presets|fleet|doctor|settings)(?:[/?]|$)/;

/** Where to go after signing in: only to pages of this server, whatever the address says. */
export function localAddress(next: unknown): string {
  return typeof next === "string" && PAGES.test(next) ? next : "/studies";
}
