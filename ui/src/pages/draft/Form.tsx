import { type ReactNode, useMemo } from "react";
import known from "~/format/metrics.json";
import { useDrafting } from "./context";
import { isRecord, type Path } from "./draft";
import { Field, Group } from "./fields/Field";
import { Parameters } from "./Parameters";
import { resolved, type Schema, schemaAt } from "./schema";

const SCENARIOS = ["D(512,128)", "D(4096,128)", "N(256,64)/(128,32)", "U(128,1024)/(64,256)"];
const SLOS = ["p99 ttft <= 2s", "p90 ttft <= 1s", "p99 tpot <= 50ms", "p99 e2e_latency <= 10s"];

/** The study as a form: what most people set, and everything else behind "more". */
export function Form() {
  const { draft, schema, kinds, named } = useDrafting();
  const objectives = useMemo(suggestedObjectives, []);
  const several = Array.isArray(draft.data.engines);
  return (
    <div className="study-form">
      <Section title="Study">
        <Field path={["name"]} control={{ kind: "text" }} readOnly={named} help={named ? NAMED : NAME} />
        <Field
          path={short(draft.data, "model", "path")}
          label="Model"
          control={{ kind: "text" }}
          help={MODEL}
        />
        {several ? (
          <Field path={["engines"]} control={{ kind: "yaml" }} />
        ) : (
          <>
            <Kind section="engine" label="Engine" help="The inference server." />
            <Kind section="deploy" label="Runs on" help="Where its servers run." />
          </>
        )}
      </Section>
      {!several && (
        <Section title="Parameters to tune">
          <Parameters />
        </Section>
      )}
      <Section title="Load">
        <Field path={["workload", "scenarios"]} suggestions={SCENARIOS} example="D(512,128)" />
        <Field path={["workload", "concurrency"]} example="1, 8" />
        <Field path={["workload", "rates"]} example="2, 4" />
        <Field path={["workload", "load"]} label="Search for the load" />
        <Field path={["workload", "warmup"]} />
        <Field path={["workload", "duration"]} />
      </Section>
      <Section title="Goals">
        <Field path={["objective"]} suggestions={objectives} example="max output_throughput" />
        <Field path={["slo"]} suggestions={SLOS} example="p99 ttft <= 2s" />
      </Section>
      <Section title="Search">
        <Field path={["search", "trials"]} help="Launches of the search at most." />
        <Field path={["search", "time"]} help="Time limit of the search, such as 2h." />
        <Field path={["search", "strategy"]} example="auto" />
        <Field path={["search", "parallel"]} />
      </Section>
      {!several && (
        <More section="engine" title={`Settings of ${kinds.engine || "the engine"}`} without={["kind"]} />
      )}
      {!several && (
        <More section="deploy" title={`Settings of ${kinds.deploy || "the deployment"}`} without={["kind"]} />
      )}
      <More section="workload" title="More about the load" without={SHOWN_WORKLOAD} />
      <More
        section="search"
        title="More about the search"
        without={["trials", "time", "strategy", "parallel"]}
      />
      <More section="confirm" title="Proof of the winner" />
      <More section="benchmark" title="Load generator" />
      <details className="panel more">
        <summary>
          <h2>Everything else</h2>
        </summary>
        <div className="fields">
          {REST.filter((key) => schema.properties?.[key]).map((key) => (
            <Field key={key} path={[key]} />
          ))}
        </div>
      </details>
    </div>
  );
}

const NAME = "Identifies the study: letters, digits, '.', '_' and '-'.";
const NAMED = "A study keeps its name; clone it to have it under another one.";
const MODEL = "ID of a Hub model, or an absolute path on the workers.";
const SHOWN_WORKLOAD = ["scenarios", "concurrency", "rates", "load", "warmup", "duration"];
const REST = [
  "constraints",
  "baseline",
  "quantization",
  "parallelism",
  "min_success_rate",
  "quality",
  "prices",
  "worker",
];

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <fieldset className="panel section">
      <legend>
        <h2>{title}</h2>
      </legend>
      <div className="fields">{children}</div>
    </fieldset>
  );
}

/** The kind of a section that may be written as one word. */
function Kind({ section, label, help }: { section: string; label: string; help: string }) {
  const { draft, schema } = useDrafting();
  const words = schema.properties?.[section]?.anyOf?.find((one) => one.enum)?.enum ?? [];
  const options = words.filter((one): one is string => typeof one === "string");
  const usual = schema.properties?.[section]?.default;
  return (
    <Field
      path={short(draft.data, section, "kind")}
      label={label}
      control={{ kind: "choice", options }}
      example={isRecord(usual) && typeof usual.kind === "string" ? usual.kind : ""}
      help={help}
    />
  );
}

interface MoreProps {
  section: string;
  title: string;
  without?: readonly string[];
}

function More({ section, title, without = [] }: MoreProps) {
  const { schema, kinds, draft, problems } = useDrafting();
  const properties = propertiesOf(schema, section, kinds);
  const keys = Object.keys(properties).filter((key) => !without.includes(key));
  if (keys.length === 0) return null;
  const given = draft.data[section];
  const set = isRecord(given) ? keys.filter((key) => given[key] !== undefined).length : 0;
  const wrong = problems.some((problem) => keys.some((key) => problem.path.startsWith(`${section}.${key}`)));
  return (
    <details className="panel more" open={wrong || undefined}>
      <summary>
        <h2>{title}</h2> {set > 0 && <span className="quiet">{set} set</span>}
      </summary>
      <Group path={[section]} label={title} properties={properties} without={without} />
    </details>
  );
}

function propertiesOf(
  root: Schema,
  section: string,
  kinds: Readonly<Record<string, string>>,
): Readonly<Record<string, Schema>> {
  const found = schemaAt(root, [section], kinds);
  if (!found) return {};
  const whole = resolved(root, found);
  if (whole.properties) return whole.properties;
  const key = section === "search" ? "strategy" : "kind";
  const own = whole.anyOf
    ?.map((one) => resolved(root, one))
    .find((one) => one.properties?.[key]?.const === kinds[section]);
  return own?.properties ?? {};
}

/** The path of a value that a section may consist of. */
function short(data: Readonly<Record<string, unknown>>, section: string, key: string): Path {
  return isRecord(data[section]) ? [section, key] : [section];
}

function suggestedObjectives(): string[] {
  return Object.entries(known).map(([name, { better, unit }]) =>
    unit === "s" ? `${better} p99 ${name}` : `${better} ${name}`,
  );
}
