// Light or dark: what the system asks for, unless the reader chose.

export type Theme = "auto" | "light" | "dark";
export const THEMES: readonly Theme[] = ["auto", "light", "dark"];

const KEY = "autotuner-theme";

export function storedTheme(): Theme {
  const found = store((kept) => kept.getItem(KEY));
  return THEMES.find((theme) => theme === found) ?? "auto";
}

export function applyTheme(theme: Theme): void {
  if (theme === "auto") {
    store((kept) => kept.removeItem(KEY));
    delete document.documentElement.dataset.theme;
  } else {
    store((kept) => kept.setItem(KEY, theme));
    document.documentElement.dataset.theme = theme;
  }
}

/** Browsers refuse to remember anything for some pages, such as a report within another page. */
function store<T>(use: (kept: Storage) => T): T | null {
  try {
    return use(localStorage);
  } catch {
    return null;
  }
}
