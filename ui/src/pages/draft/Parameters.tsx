import { type SyntheticEvent, useId, useState } from "react";
import type { CatalogEntry } from "~/api/types";
import { useDrafting } from "./context";
import { isRecord, type Path, valueAt } from "./draft";
import { type ControlProps, ListControl, ScalarControl, YamlControl } from "./fields/controls";
import { Field } from "./fields/Field";
import { isWithin, problemText } from "./problems";

type Form = "values" | "range" | "other";

const RANGE_KEYS = new Set(["low", "high", "step", "log"]);

/** What is tuned: one row per parameter with its values or its range. */
export function Parameters() {
  const { draft, problems, change } = useDrafting();
  const given = draft.data.parameters;
  if (given !== undefined && !isRecord(given)) {
    return (
      <Field
        path={["parameters"]}
        label="Combinations"
        control={{ kind: "yaml" }}
        help="Tried one by one."
        wide
      />
    );
  }
  const names = Object.keys(given ?? {});
  const whole = problems.filter((problem) => problem.path === "parameters");
  return (
    <div className="parameters wide">
      {names.map((name, i) => (
        // The place is the row's identity: its name can be edited.
        // biome-ignore lint/suspicious/noArrayIndexKey: see above
        <Row key={i} name={name} taken={names} />
      ))}
      <Adder taken={names} onAdd={(name, values) => change(["parameters", name], values)} />
      {whole.map((problem) => (
        <p key={problem.why} className="bad">
          {problemText(problem)}
        </p>
      ))}
      <Known taken={names} />
    </div>
  );
}

function Row({ name, taken }: { name: string; taken: readonly string[] }) {
  const { draft, catalog, problems, change, rename } = useDrafting();
  const id = useId();
  const path: Path = ["parameters", name];
  const value = valueAt(draft.data, path);
  const own = problems.filter((problem) => isWithin(problem, path));
  const entry = entryOf(catalog, name);
  const form = formOf(value);
  return (
    <fieldset className="parameter">
      <legend className="hidden">{name}</legend>
      <NameInput
        name={name}
        taken={taken}
        list={`${id}-known`}
        onName={(next) => rename(path, next)}
        describedBy={`${id}-about`}
      />
      <select
        aria-label={`Form of ${name}`}
        value={form}
        onChange={(event) => change(path, converted(value, event.target.value as Form, entry))}
      >
        <option value="values">values</option>
        <option value="range">range</option>
        {form === "other" && <option value="other">as YAML</option>}
      </select>
      <Values
        form={form}
        value={value}
        path={path}
        control={{
          id: `${id}-values`,
          value,
          onChange: (next) => change(path, next ?? []),
          placeholder: entry ? entry.suggested.map(String).join(", ") : "8, 16, 32",
          describedBy: `${id}-about`,
          invalid: own.length > 0,
          name: `Values of ${name}`,
        }}
      />
      <button
        type="button"
        className="plain"
        aria-label={`Remove ${name}`}
        onClick={() => change(path, undefined)}
      >
        ✕
      </button>
      <Options id={`${id}-known`} taken={taken} />
      <div id={`${id}-about`} className="about">
        {own.map((problem) => (
          <p key={`${problem.path} ${problem.why}`} className="bad">
            {problemText(problem)}
          </p>
        ))}
        {entry && <p className="quiet">{aboutEntry(entry)}</p>}
      </div>
    </fieldset>
  );
}

interface ValuesProps {
  form: Form;
  value: unknown;
  path: Path;
  control: ControlProps;
}

function Values({ form, value, path, control }: ValuesProps) {
  const { change } = useDrafting();
  if (form === "values") return <ListControl {...control} single={false} />;
  if (form === "other" || !isRecord(value)) return <YamlControl {...control} />;
  const part = (key: string, label: string) => (
    <label htmlFor={`${control.id}-${key}`}>
      {label}
      <ScalarControl
        {...control}
        id={`${control.id}-${key}`}
        value={value[key]}
        placeholder=""
        name={undefined}
        onChange={(next) => change([...path, key], next)}
      />
    </label>
  );
  return (
    <span className="range">
      {part("low", "from")}
      {part("high", "to")}
      {part("step", "step")}
      <label className="check">
        <input
          type="checkbox"
          checked={value.log === true}
          onChange={(event) => change([...path, "log"], event.target.checked ? true : undefined)}
        />
        doubling
      </label>
    </span>
  );
}

interface NameProps {
  name: string;
  taken: readonly string[];
  list: string;
  onName: (name: string) => void;
  describedBy: string;
}

/** The name of a parameter. It changes once it is complete: until then, it would be one that the engine does not know. */
function NameInput({ name, taken, list, onName, describedBy }: NameProps) {
  const [typed, setTyped] = useState<string | null>(null);
  const finish = () => {
    const next = typed?.trim() ?? "";
    if (next !== "" && next !== name && !taken.includes(next)) onName(next);
    setTyped(null);
  };
  return (
    <input
      className="mono"
      aria-label={`Name of ${name}`}
      aria-describedby={describedBy}
      spellCheck={false}
      autoComplete="off"
      list={list}
      value={typed ?? name}
      onChange={(event) => setTyped(event.target.value)}
      onBlur={finish}
      onKeyDown={(event) => event.key === "Enter" && finish()}
    />
  );
}

function Adder({
  taken,
  onAdd,
}: {
  taken: readonly string[];
  onAdd: (name: string, values: unknown) => void;
}) {
  const { catalog } = useDrafting();
  const id = useId();
  const [name, setName] = useState("");
  const add = (event: SyntheticEvent) => {
    event.preventDefault();
    const wanted = name.trim();
    if (wanted === "" || taken.includes(wanted)) return;
    const entry = entryOf(catalog, wanted);
    onAdd(entry?.name ?? wanted, entry ? [...entry.suggested] : []);
    setName("");
  };
  return (
    <form className="bar" onSubmit={add}>
      <input
        className="mono"
        aria-label="Parameter to add"
        placeholder="flag, or env.NAME"
        spellCheck={false}
        autoComplete="off"
        list={id}
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <Options id={id} taken={taken} />
      <button type="submit">Add parameter</button>
    </form>
  );
}

function Options({ id, taken }: { id: string; taken: readonly string[] }) {
  const { catalog } = useDrafting();
  return (
    <datalist id={id}>
      {catalog
        .filter((entry) => !taken.includes(entry.name))
        .map((entry) => (
          <option key={entry.name} value={entry.name}>
            {entry.meaning}
          </option>
        ))}
    </datalist>
  );
}

/** Parameters that are worth tuning, to add with one click. */
function Known({ taken }: { taken: readonly string[] }) {
  const { catalog, change } = useDrafting();
  const more = catalog.filter((entry) => entry.suggested.length > 1 && !taken.includes(entry.name));
  if (more.length === 0) return null;
  return (
    <details>
      <summary>Parameters that are often worth tuning ({more.length})</summary>
      <ul className="chips">
        {more.map((entry) => (
          <li key={entry.name}>
            <button
              type="button"
              title={aboutEntry(entry)}
              onClick={() => change(["parameters", entry.name], [...entry.suggested])}
            >
              + {entry.name}
            </button>
          </li>
        ))}
      </ul>
    </details>
  );
}

function entryOf(catalog: readonly CatalogEntry[], name: string): CatalogEntry | undefined {
  const plain = name.replace(/^-+/, "").replaceAll("_", "-");
  return catalog.find((entry) => entry.name === plain || entry.aliases.includes(plain));
}

function aboutEntry(entry: CatalogEntry): string {
  const { default: usual } = entry;
  // Some meanings say what the default is.
  if (usual === null || entry.meaning.includes("default")) return entry.meaning;
  return `${entry.meaning}; default: ${String(usual)}`;
}

function formOf(value: unknown): Form {
  if (Array.isArray(value)) return "values";
  return isRecord(value) && Object.keys(value).every((key) => RANGE_KEYS.has(key)) ? "range" : "other";
}

/** The values in another form: a range over numbers, or its ends as values. */
function converted(value: unknown, form: Form, entry: CatalogEntry | undefined): unknown {
  if (form === "values") return isRecord(value) ? [value.low, value.high].filter(Number.isFinite) : [];
  const numbers = (Array.isArray(value) ? value : []).filter((one): one is number => typeof one === "number");
  const { low, high } = entry?.type ?? {};
  return {
    low: numbers.length > 0 ? Math.min(...numbers) : (low ?? 1),
    high: numbers.length > 0 ? Math.max(...numbers) : (high ?? 8),
  };
}
