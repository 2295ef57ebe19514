import type { WinnerForm } from "~/api/queries";
import { Copyable } from "~/components/Copyable";

export interface WinnerFile {
  form: WinnerForm;
  title: string;
  file: string;
  options: readonly { name: string; label: string; example: string }[];
}

const IMAGE = { name: "image", label: "Image", example: "registry.example/server:1" };
const NAMESPACE = { name: "namespace", label: "Namespace", example: "default" };
export const FORMS: readonly WinnerFile[] = [
  { form: "command", title: "Command", file: "sh", options: [] },
  {
    form: "kubernetes",
    title: "Kubernetes",
    file: "yaml",
    options: [IMAGE, NAMESPACE, { name: "pvc", label: "Model's claim", example: "models" }],
  },
  { form: "compose", title: "Compose", file: "compose.yaml", options: [IMAGE] },
  { form: "serving-runtime", title: "OME runtime", file: "runtime.yaml", options: [IMAGE] },
  {
    form: "inference-service",
    title: "OME service",
    file: "service.yaml",
    options: [NAMESPACE, { name: "model", label: "OME model", example: "llama-3-8b" }],
  },
  { form: "json", title: "JSON", file: "json", options: [] },
];
interface SwitchProps {
  forms: readonly WinnerFile[];
  /** Index of the form that is shown. */
  chosen: number;
  onChoose: (index: number) => void;
}

/** Chooses between forms of the winner. */
export function FormSwitch({ forms, chosen, onChoose }: SwitchProps) {
  return (
    <fieldset className="switch wrap">
      <legend className="hidden">Form</legend>
      {forms.map((one, i) => (
        <label key={one.form}>
          <input type="radio" name="form" checked={i === chosen} onChange={() => onChoose(i)} />
          <span>{one.title}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface TextProps {
  /** Name of the study. */
  name: string;
  form: WinnerFile;
  text: string;
}

/** The winner in one form, to copy and to save. */
export function FormText({ name, form, text }: TextProps) {
  return (
    <>
      <Copyable text={text} label={form.title} />
      <p>
        <Download text={text} file={`${name}.${form.file}`} />
      </p>
    </>
  );
}

function Download({ text, file }: { text: string; file: string }) {
  const save = () => {
    const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = file;
    link.click();
    URL.revokeObjectURL(url);
  };
  return (
    <button type="button" onClick={save}>
      Download {file}
    </button>
  );
}
