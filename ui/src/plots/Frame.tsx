import type { ReactNode } from "react";
import { axisTitle } from "./axisTitle";
import type { Scale } from "./scale";

export interface Box {
  width: number;
  height: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Room for the labels of the axes. */
export function boxOf(width: number, height: number): Box {
  return { width, height, left: 60, right: width - 14, top: 14, bottom: height - 40 };
}

interface Props {
  box: Box;
  x: Scale;
  y: Scale;
  xTitle: string;
  yTitle: string;
  xText: (value: number) => string;
  yText: (value: number) => string;
  label: string;
  children: ReactNode;
}

/** Axes and grid of a plot. */
export function Frame({ box, x, y, xTitle, yTitle, xText, yText, label, children }: Props) {
  return (
    <svg
      className="plot"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${box.width} ${box.height}`}
      height={box.height}
    >
      {y.ticks.map((tick) => (
        <g key={tick} className="tick">
          <line x1={box.left} x2={box.right} y1={y(tick)} y2={y(tick)} />
          <text x={box.left - 6} y={y(tick)} dy="0.32em" textAnchor="end">
            {yText(tick)}
          </text>
        </g>
      ))}
      {x.ticks.map((tick) => (
        <text key={tick} className="tick" x={x(tick)} y={box.bottom + 15} textAnchor="middle">
          {xText(tick)}
        </text>
      ))}
      <line className="edge" x1={box.left} x2={box.right} y1={box.bottom} y2={box.bottom} />
      <text className="axis" x={(box.left + box.right) / 2} y={box.height - 5} textAnchor="middle">
        {xTitle}
      </text>
      <text
        className="axis"
        transform={`translate(11 ${(box.top + box.bottom) / 2}) rotate(-90)`}
        textAnchor="middle"
      >
        {axisTitle(yTitle, box.bottom - box.top)}
      </text>
      {children}
    </svg>
  );
}

interface ReferenceProps {
  box: Box;
  at: number;
  kind: "default" | "slo" | "capacity";
  text: string;
  vertical?: boolean;
}

/** A line that values are compared with: the default's value, an SLO, a capacity. */
export function Reference({ box, at, kind, text, vertical = false }: ReferenceProps) {
  if (vertical ? at < box.left - 1 || at > box.right + 1 : at < box.top - 1 || at > box.bottom + 1)
    return null;
  const near = at < box.top + 14;
  return (
    <g className={`reference ${kind}`}>
      {vertical ? (
        <line x1={at} x2={at} y1={box.top} y2={box.bottom} />
      ) : (
        <line x1={box.left} x2={box.right} y1={at} y2={at} />
      )}
      {vertical ? (
        <text
          x={at > box.right - 90 ? at - 4 : at + 4}
          y={box.top + 9}
          textAnchor={at > box.right - 90 ? "end" : "start"}
        >
          {text}
        </text>
      ) : (
        <text x={box.right} y={near ? at + 12 : at - 4} textAnchor="end">
          {text}
        </text>
      )}
    </g>
  );
}
