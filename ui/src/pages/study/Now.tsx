import { activityText, type Live } from "~/api/live";

/** What happens right now. Its height stays the same while trials come and go, so that nothing below it moves. */
export function Now({ live }: { live: Live }) {
  const lines = Math.max(1, live.parallel);
  const running = [...live.running].slice(0, lines);
  const notice = live.notices.at(-1);
  return (
    <section className="now panel" aria-label="Now" style={{ minHeight: `${(lines + 1) * 1.6 + 1.2}rem` }}>
      <ul>
        {running.map(([number, activity]) => (
          <li key={number}>
            <span className="dot pulse" />
            <strong>trial {number}</strong> {activityText(activity)}
            {activity.total > 0 && (
              <svg className="window" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
                <rect width={Math.min(100, (activity.elapsed / activity.total) * 100)} height="4" />
              </svg>
            )}
          </li>
        ))}
        {running.length === 0 && <li className="quiet">Between two trials…</li>}
        <li className="quiet">{notice?.text}</li>
      </ul>
    </section>
  );
}
