/** Rows of spans by time; only those in sight are drawn, so thousands of them scroll smoothly. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Model, Row } from "./model.ts";
import { duration, NAME, SIGN } from "./words.ts";

const HEIGHT = 24;

interface Props {
  model: Model;
  rows: Row[];
  range: [number, number];
  now: number;
  window: [number, number] | null;
  setWindow: (range: [number, number] | null) => void;
  /** The row to be seen, if none is chosen. */
  near: string;
  chosen: string;
  choose: (id: string) => void;
  flip: (id: string) => void;
}

export function Waterfall({ model, rows, range, now, window, setWindow, near, chosen, choose, flip }: Props) {
  const holder = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const [from, to] = window ?? range;

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => entry && setHeight(entry.contentRect.height));
    observer.observe(holder.current!);
    return () => observer.disconnect();
  }, []);

  const there = rows.some((row) => row.id === (chosen || near));
  useEffect(() => {
    const index = rows.findIndex((row) => row.id === (chosen || near));
    const view = holder.current;
    if (index < 0 || !view) return;
    if (index * HEIGHT < view.scrollTop) view.scrollTop = index * HEIGHT - HEIGHT;
    else if ((index + 1) * HEIGHT > view.scrollTop + view.clientHeight) view.scrollTop = (index + 2) * HEIGHT - view.clientHeight;
  }, [chosen, near, there]);

  const first = Math.max(0, Math.floor(top / HEIGHT) - 4);
  const shown = rows.slice(first, first + Math.ceil(height / HEIGHT) + 8);
  return (
    <div class="waterfall">
      <Minimap model={model} range={range} window={window} setWindow={setWindow} />
      <div class="axis" aria-hidden="true">
        {[0, 0.25, 0.5, 0.75].map((part) => (
          <span key={part} style={{ left: `${part * 100}%` }}>{duration(from - range[0] + (to - from) * part)}</span>
        ))}
      </div>
      <div class="rows" ref={holder} role="treegrid" aria-label="Spans" aria-rowcount={rows.length} tabIndex={0} aria-activedescendant={chosen ? `row-${chosen}` : undefined} onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
        <div role="presentation" style={{ height: `${rows.length * HEIGHT}px`, position: "relative" }}>
          {shown.map((row, n) => (
            <Line key={row.id} row={row} index={first + n} from={from} to={to} now={now} chosen={row.id === chosen} choose={choose} flip={flip} />
          ))}
        </div>
      </div>
    </div>
  );
}

interface LineProps {
  row: Row;
  index: number;
  from: number;
  to: number;
  now: number;
  chosen: boolean;
  choose: (id: string) => void;
  flip: (id: string) => void;
}

function Line({ row, index, from, to, now, chosen, choose, flip }: LineProps) {
  const end = row.end ?? Math.max(now, row.start);
  const span = to - from;
  const left = Math.max(0, Math.min(100, ((row.start - from) / span) * 100));
  const right = Math.max(0, Math.min(100, ((end - from) / span) * 100));
  const took = row.kind === "ghost" ? "" : `${duration(end - row.start)}${row.end === null && row.look === "run" ? "…" : ""}`;
  return (
    <div
      id={`row-${row.id}`}
      class={`row ${row.look} k-${row.kind}${chosen ? " chosen" : ""}${row.end === null ? " open" : ""}`}
      role="row"
      aria-level={row.depth + 1}
      aria-rowindex={index + 1}
      aria-selected={chosen}
      aria-expanded={row.foldable ? row.open : undefined}
      style={{ top: `${index * HEIGHT}px` }}
      onClick={() => (row.kind === "group" ? flip(row.id) : choose(row.id))}
    >
      <span class="what" role="gridcell" style={{ paddingLeft: `${Math.min(row.depth, 12) * 13 + 4}px` }}>
        <span class="twist" onClick={(event) => (event.stopPropagation(), row.foldable && flip(row.id))}>{row.foldable ? (row.open ? "▾" : "▸") : ""}</span>
        <span class="sign" title={NAME[row.look]}>{SIGN[row.look]}</span>
        <span class="label" title={row.label}>{row.label}</span>
        {row.note && <span class="note">{row.note}</span>}
      </span>
      <span class="bars" role="gridcell">
        {end >= from && row.start <= to && row.kind !== "ghost" && <span class="bar" style={{ left: `${left}%`, width: `max(3px, ${right - left}%)` }} />}
      </span>
      <span class="took" role="gridcell">{took}</span>
    </div>
  );
}

/** All spans at a glance; drag chooses a part of the time. */
function Minimap({ model, range, window, setWindow }: { model: Model; range: [number, number]; window: [number, number] | null; setWindow: (range: [number, number] | null) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [drag, setDrag] = useState<number | null>(null);
  const spans = useMemo(() => [...model.spans.values()], [model, model.version]);

  useEffect(() => {
    const view = canvas.current!;
    const context = view.getContext("2d")!;
    const width = (view.width = view.clientWidth);
    const height = (view.height = 36);
    const style = getComputedStyle(view);
    const span = range[1] - range[0];
    const counts = new Float32Array(width + 1);
    const bad = new Uint8Array(width + 1);
    for (const one of spans) {
      const left = Math.max(0, Math.floor(((one.start - range[0]) / span) * width));
      const right = Math.min(width, Math.ceil((((one.end_time ?? range[1]) - range[0]) / span) * width));
      for (let x = left; x <= right; x++) counts[x]!++;
      if (one.status === 2) bad[Math.min(width, right)] = 1;
    }
    const most = Math.max(1, ...counts);
    context.clearRect(0, 0, width, height);
    for (let x = 0; x < width; x++) {
      const tall = (Math.log1p(counts[x]!) / Math.log1p(most)) * (height - 6);
      context.fillStyle = style.color;
      context.fillRect(x, height - tall, 1, tall);
    }
    context.fillStyle = style.borderTopColor;
    for (let x = 0; x <= width; x++) if (bad[x]) context.fillRect(x - 1, 0, 2, 5);
  }, [spans, range[0], range[1], canvas.current?.clientWidth]);

  const part = (time: number): number => Math.max(0, Math.min(100, ((time - range[0]) / (range[1] - range[0])) * 100));
  const at = (event: PointerEvent): number => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return range[0] + ((event.clientX - box.left) / box.width) * (range[1] - range[0]);
  };
  return (
    <div
      class="minimap"
      title="Drag to choose a part of the time, double click for all of it"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        setDrag(at(event));
      }}
      onPointerMove={(event) => {
        const here = at(event);
        if (drag !== null && Math.abs(here - drag) > (range[1] - range[0]) / 200) setWindow([Math.min(drag, here), Math.max(drag, here)]);
      }}
      onPointerUp={() => setDrag(null)}
      onDblClick={() => setWindow(null)}
    >
      <canvas ref={canvas} aria-hidden="true" />
      {window && <span class="window" style={{ left: `${part(window[0])}%`, width: `${part(window[1]) - part(window[0])}%` }} />}
    </div>
  );
}
