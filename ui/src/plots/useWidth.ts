import { type RefObject, startTransition, useLayoutEffect, useRef, useState } from "react";

/** The width of an element in pixels, which plots are drawn for; text keeps its size that way. It is 0 until the page was
 * painted once: what people read first does not wait for plots, and drawing them does not hold up the page. */
export function useWidth(): [RefObject<HTMLDivElement | null>, number] {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const measure = () => startTransition(() => setWidth(element.clientWidth));
    const observer = new ResizeObserver(measure);
    observer.observe(element); // which reports the first size, too
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}
