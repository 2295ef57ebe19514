import { useState } from "react";
import { applyTheme, storedTheme, THEMES, type Theme } from "~/theme";

const LABELS: Record<Theme, string> = { auto: "Auto", light: "Light", dark: "Dark" };

export function ThemeSwitch() {
  const [theme, setTheme] = useState(storedTheme);
  const choose = (chosen: Theme) => {
    applyTheme(chosen);
    setTheme(chosen);
  };
  return (
    <fieldset className="switch">
      <legend className="hidden">Colors</legend>
      {THEMES.map((value) => (
        <label key={value}>
          <input type="radio" name="theme" checked={theme === value} onChange={() => choose(value)} />
          <span>{LABELS[value]}</span>
        </label>
      ))}
    </fieldset>
  );
}
