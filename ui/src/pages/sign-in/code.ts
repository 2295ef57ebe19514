// The one-time code in the address. It is taken out of it at once, before anybody can bookmark or share it; and once,
// because a second attempt with the same code would be refused.

let code = take();

function take(): string | null {
  const found = /^#code=([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1] ?? null;
  if (found !== null) history.replaceState(history.state, "", location.pathname + location.search);
  return found;
}

/** The code, the first time. */
export function takeCode(): string | null {
  const found = code;
  code = null;
  return found;
}
