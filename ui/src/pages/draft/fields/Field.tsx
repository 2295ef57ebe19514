import { type ReactNode, useId } from "react";
import { useDrafting } from "../context";
import { type Path, valueAt } from "../draft";
import { isWithin, pathText, problemText } from "../problems";
import { type Control, controlOf, labelOf, placeholderOf, resolved, type Schema, schemaAt } from "../schema";
import {
  ChoiceControl,
  type ControlProps,
  ListControl,
  RowsControl,
  ScalarControl,
  SwitchControl,
  TextControl,
  YamlControl,
} from "./controls";

interface Props {
  path: Path;
  label?: string;
  /** Instead of the description in the schema. */
  help?: string;
  /** Instead of the one that fits the schema. */
  control?: Control;
  example?: string;
  suggestions?: readonly string[];
  wide?: boolean;
  readOnly?: boolean;
}

/** One value of the study: its control, what it means, and what is wrong with it. */
export function Field({ path, label, help, control, example, suggestions, wide = false, readOnly }: Props) {
  const { draft, schema: root, kinds, problems, change } = useDrafting();
  const id = useId();
  const found = schemaAt(root, path, kinds);
  const schema = found ? resolved(root, found) : null;
  if (!schema) return null;
  const chosen = control ?? controlOf(root, schema);
  if (chosen.kind === "group") {
    return <Group path={path} label={label ?? labelOf(path)} properties={chosen.properties} />;
  }
  const own = problems.filter((problem) => isWithin(problem, path));
  const text = help ?? schema.description ?? "";
  const props: ControlProps = {
    id,
    value: valueAt(draft.data, path),
    onChange: (value) => change(path, value),
    placeholder: example ?? placeholderOf(schema),
    describedBy: `${id}-about`,
    invalid: own.length > 0,
    suggestions: suggestions && `${id}-suggestions`,
    readOnly: readOnly ?? false,
  };
  return (
    <div className={wide || chosen.kind === "rows" || chosen.kind === "yaml" ? "field wide" : "field"}>
      <label htmlFor={id}>{label ?? labelOf(path)}</label>
      {controlFor(chosen, props)}
      {suggestions && (
        <datalist id={`${id}-suggestions`}>
          {suggestions.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
      <div id={`${id}-about`} className="about" data-path={pathText(path)}>
        {own.map((problem, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the same text may be said twice
          <p key={i} className="bad">
            {problemText(problem)}
          </p>
        ))}
        {text && <p className="quiet">{text}</p>}
      </div>
    </div>
  );
}

function controlFor(control: Control, props: ControlProps): ReactNode {
  switch (control.kind) {
    case "choice":
      return <ChoiceControl {...props} options={control.options} />;
    case "switch":
      return <SwitchControl {...props} />;
    case "text":
      return <TextControl {...props} />;
    case "scalar":
      return <ScalarControl {...props} />;
    case "list":
      return <ListControl {...props} single={control.single} />;
    case "rows":
      return <RowsControl {...props} />;
    default:
      return <YamlControl {...props} />;
  }
}

interface GroupProps {
  path: Path;
  label: string;
  properties: Readonly<Record<string, Schema>>;
  /** Keys that are shown elsewhere. */
  without?: readonly string[];
}

/** All values of a section. */
export function Group({ path, label, properties, without = [] }: GroupProps) {
  const keys = Object.keys(properties).filter((key) => !without.includes(key));
  if (keys.length === 0) return null;
  return (
    <fieldset className="fields wide">
      <legend>{label}</legend>
      {keys.map((key) => (
        <Field key={key} path={[...path, key]} />
      ))}
    </fieldset>
  );
}
