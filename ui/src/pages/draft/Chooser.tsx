import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { schemaQuery } from "~/api/drafting";
import { presetsQuery } from "~/api/presets";
import { Problem } from "~/components/Problem";
import { Failed, Waiting } from "~/components/states";
import { resolved, type Schema } from "./schema";

const TITLES: Readonly<Record<string, string>> = {
  llama_cpp: "llama.cpp",
  sglang: "SGLang",
  simulated: "Simulated SGLang",
  tensorrt_llm: "TensorRT-LLM",
  vllm: "vLLM",
};
const GOALS = [
  { goal: "throughput", title: "Throughput", meaning: "most tokens per second within a bound on the TTFT" },
  { goal: "latency", title: "Latency", meaning: "fastest answers for few users" },
  { goal: "long-prompts", title: "Long prompts", meaning: "throughput with prompts of thousands of tokens" },
  { goal: "capacity", title: "Capacity", meaning: "highest request rate within the SLOs" },
  { goal: "cost", title: "Cost", meaning: "lowest price of a token within a bound on the TTFT" },
];

/** What a new study begins with: a template, a file, or nothing. */
export function Chooser() {
  const { data, error } = useQuery(schemaQuery);
  if (error) return <Failed error={error} />;
  if (!data) return <Waiting what="the engines" />;
  return (
    <>
      <section className="panel chooser" aria-label="Templates">
        <header>
          <h2>Begin with a template</h2>
          <span className="grow" />
          <Link className="button" to="/new" search={{ from: "file" }}>
            Import or paste a file
          </Link>
        </header>
        <div className="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Engine</th>
                {GOALS.map(({ goal, title, meaning }) => (
                  <th key={goal} scope="col">
                    {title}
                    <small>{meaning}</small>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {enginesOf(data as Schema).map((engine) => (
                <tr key={engine}>
                  <th scope="row">{TITLES[engine] ?? engine}</th>
                  {GOALS.map(({ goal, title }) => (
                    <td key={goal}>
                      <Link to="/new" search={{ engine, goal }} preload={false}>
                        {title}
                        <span className="hidden"> with {TITLES[engine] ?? engine}</span>
                      </Link>
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <p className="body quiet">
          Each template tunes the parameters that can matter under its load. Everything can be changed before
          it is saved.
        </p>
      </section>
      <Presets />
    </>
  );
}

function Presets() {
  const { data, error } = useQuery(presetsQuery);
  return (
    <section className="panel chooser" aria-label="Presets">
      <header>
        <h2>Or with a preset</h2>
        <span className="grow" />
        <Link className="button" to="/presets">
          Manage presets
        </Link>
      </header>
      <div className="body">
        <Problem error={error} />
        {data && data.length > 0 ? (
          <ul className="presets">
            {data.map((preset) => (
              <li key={preset.name}>
                <Link to="/new" search={{ preset: preset.name }} preload={false}>
                  {preset.name}
                </Link>{" "}
                <span className="quiet">{[preset.engine, preset.model].filter(Boolean).join(", ")}</span>
              </li>
            ))}
          </ul>
        ) : (
          <p className="quiet">
            {data ? "No presets yet. To add one, save a study from its form." : "Reading presets…"}
          </p>
        )}
      </div>
    </section>
  );
}

function enginesOf(root: Schema): string[] {
  const words =
    root.properties?.engine?.anyOf?.map((one) => resolved(root, one)).find((one) => one.enum)?.enum ?? [];
  return words.filter((one): one is string => typeof one === "string");
}
