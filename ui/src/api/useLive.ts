import { useEffect, useState } from "react";
import { isOffline } from "./client";
import { CHANGES, fold, KINDS, type Live, NOTHING, type StudyEvent } from "./live";
import { client, sessionQuery, studyQuery, studyUrl } from "./queries";

/** How the stream of events is doing. */
export type Connection = "connecting" | "open" | "lost" | "closed";

/** Time in which events are collected before the page is drawn again: a new connection repeats all of them. */
const BATCH_MS = 100;
/** An event that is older than what was read, by more than clocks of two machines differ, is part of it. */
const CLOCKS_S = 60;

/** Follows a study, and has its data read again whenever they change. */
export function useLive(name: string): { live: Live; connection: Connection } {
  const [live, setLive] = useState<Live>(NOTHING);
  const [connection, setConnection] = useState<Connection>("connecting");
  useEffect(() => {
    setLive(NOTHING);
    setConnection("connecting");
    if (isOffline()) return;
    const source = new EventSource(`${studyUrl(name)}/events?brief=true`);
    let waiting: StudyEvent[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const flush = () => {
      timer = undefined;
      const events = waiting;
      waiting = [];
      setLive((before) => fold(before, events));
      const since = (client.getQueryData(studyQuery(name).queryKey)?.read_at ?? 0) - CLOCKS_S;
      if (events.some((event) => CHANGES.has(event.kind) && event.at > since)) {
        client.invalidateQueries({ queryKey: ["study", name] });
      }
    };
    const receive = (message: MessageEvent<string>) => {
      waiting.push(JSON.parse(message.data) as StudyEvent);
      timer ??= setTimeout(flush, BATCH_MS);
    };
    for (const kind of KINDS) source.addEventListener(kind, receive);
    let lost = false;
    // The answer tells what a stream cannot: the version of a server that was restarted, and the end of the session.
    const ask = () => client.invalidateQueries({ queryKey: sessionQuery.queryKey });
    source.onopen = () => {
      setConnection("open");
      if (lost) ask();
      lost = false;
    };
    source.onerror = () => {
      lost = true;
      const closed = source.readyState === EventSource.CLOSED;
      setConnection(closed ? "closed" : "lost");
      if (closed) ask();
    };
    return () => {
      source.close();
      clearTimeout(timer);
    };
  }, [name]);
  return { live, connection };
}
