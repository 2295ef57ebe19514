import type { StudyDetails, StudyEvidence } from "~/api/types";

type Compared = StudyEvidence["compared"];

/** The default and the best side by side, at every load. */
export function ComparisonPanel({ details, compared }: { details: StudyDetails; compared: Compared }) {
  const effects = compared.places.some((place) => place.figures.some((figure) => figure.effect));
  return (
    <section className="panel" aria-label="Comparison">
      <header>
        <h2>Comparison with the {details.reference}</h2>
      </header>
      <p className="body small quiet">{compared.note}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="scroll whole" tabIndex={0} aria-label="Figures of both">
        <table>
          <thead>
            <tr>
              <th scope="col">Figure</th>
              <th scope="col" className="number">
                {details.reference}
              </th>
              {compared.other && (
                <>
                  <th scope="col" className="number">
                    {compared.other}
                  </th>
                  <th scope="col" className="number">
                    change
                  </th>
                  {effects && (
                    <th scope="col" className="effect">
                      effect
                    </th>
                  )}
                </>
              )}
            </tr>
          </thead>
          {compared.places.map((place) => (
            <tbody key={`${place.scenario} ${place.level}`}>
              <tr className="group">
                <th scope="rowgroup" colSpan={2 + (compared.other ? 2 + Number(effects) : 0)}>
                  {place.level} <span className="mono quiet">{place.scenario}</span>
                </th>
              </tr>
              {place.figures.map((figure) => (
                <tr key={figure.title}>
                  <th scope="row">{figure.title}</th>
                  <td className="number">
                    <Side side={figure.default} />
                  </td>
                  {compared.other && (
                    <>
                      <td className="number">
                        <Side side={figure.other} />
                      </td>
                      <td className={`number ${tone(figure.effect)}`}>{figure.change}</td>
                      {effects && <td className={`effect ${tone(figure.effect)}`}>{figure.effect}</td>}
                    </>
                  )}
                </tr>
              ))}
            </tbody>
          ))}
        </table>
      </section>
    </section>
  );
}

function Side({ side }: { side: Compared["places"][number]["figures"][number]["default"] }) {
  return (
    <>
      {side.text}
      {side.spread && <span className="quiet small spread"> {side.spread}</span>}
    </>
  );
}

function tone(effect: string): string {
  return effect === "better" ? "good" : effect === "worse" ? "bad" : "";
}
