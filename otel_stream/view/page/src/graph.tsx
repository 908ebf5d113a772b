/** The graph, declared and executed, in motion. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Job, Placed } from "./layout.ts";
import { END, START, shownPath, type Box, type Graph as Walked } from "./model.ts";
import { count, duration, NAME, type Look } from "./words.ts";

/** Boxes that are laid out at most; beyond it subgraphs are folded, and then nothing is drawn. */
const MOST = 100;

declare const trustedTypes: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } } | undefined;

let worker: Worker | null = null;
let jobs = 0;
const waiting = new Map<number, (placed: Placed) => void>();

function laidOut(job: Omit<Job, "id">): Promise<Placed> {
  if (!worker) {
    const own = { createScriptURL: () => "layout.js" };
    const url = typeof trustedTypes === "undefined" ? "layout.js" : trustedTypes.createPolicy("page", own).createScriptURL("");
    worker = new Worker(url);
    worker.onmessage = (message: MessageEvent<Placed>) => {
      waiting.get(message.data.id)?.(message.data);
      waiting.delete(message.data.id);
    };
  }
  const id = ++jobs;
  worker.postMessage({ ...job, id });
  return new Promise((resolve) => waiting.set(id, resolve));
}

function lookOf(box: Box): Look {
  if (box.run) return "run";
  if (box.wait) return "wait";
  if (box.fail) return "fail";
  if (box.stop) return "stop";
  return box.ok ? "ok" : "idle";
}

function tallied(box: Box): string {
  const said: string[] = [];
  if (box.run) said.push(`● ${count(box.run)}`);
  if (box.ok) said.push(`✔ ${count(box.ok)}`);
  if (box.fail) said.push(`✖ ${count(box.fail)}`);
  if (box.wait) said.push(`◐ ${count(box.wait)}`);
  if (box.stop) said.push(`■ ${count(box.stop)}`);
  if (box.retries) said.push(`⟲ ${count(box.retries)}`);
  if (box.cached) said.push(`cached ${count(box.cached)}`);
  return said.join("  ");
}

function names(id: string): string {
  if (id.endsWith(START)) return "start";
  return id.endsWith(END) ? "end" : "";
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

interface Props {
  graph: Walked;
  chosen: string;
  follow: boolean;
  choose: (path: string) => void;
}

export function GraphView({ graph, chosen, follow, choose }: Props) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [placed, setPlaced] = useState<Placed | null>(null);
  const [busy, setBusy] = useState(true);
  const [width, setWidth] = useState(800);
  const holder = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => entry && setWidth(entry.contentRect.width));
    observer.observe(holder.current!);
    return () => observer.disconnect();
  }, []);

  const visible = useMemo(() => {
    const shown = new Set<string>();
    for (const box of graph.boxes.values()) {
      let above = box.parent;
      while (above && open.has(above)) above = graph.boxes.get(above)?.parent ?? "";
      if (!above) shown.add(box.path);
    }
    return shown;
  }, [graph, open]);

  const job = useMemo(() => {
    const nodes = [...graph.boxes.values()]
      .filter((box) => visible.has(box.path))
      .map((box) => {
        const text = Math.max(cut(box.name, 26).length + (box.subgraph ? 3 : 0), 9);
        const end = names(box.path) !== "";
        return { id: box.path, parent: box.parent, cluster: open.has(box.path) && box.subgraph, width: end ? 56 : text * 8.2 + 26, height: end ? 26 : 46 };
      });
    const edges = [...graph.edges.values()]
      .filter((edge) => visible.has(edge.from) && visible.has(edge.to) && edge.from !== edge.to)
      .map(({ from, to }) => ({ from, to }));
    const plain = nodes.filter((node) => !node.cluster);
    const across = width > 620 && plain.length <= 14;
    return { nodes, edges, across };
  }, [graph, visible, open, width > 620]);
  const structure = JSON.stringify(job);

  useEffect(() => {
    if (job.nodes.length === 0 || job.nodes.length > MOST) return setPlaced(null);
    let wanted = true;
    setBusy(true);
    void laidOut(job).then((found) => {
      if (!wanted) return;
      setPlaced(found);
      setBusy(false);
    });
    return () => {
      wanted = false;
    };
  }, [structure]);

  const scale = placed ? Math.min(1.15, Math.max(0.75, (width - 4) / placed.width)) : 1;
  const active = [...graph.boxes.values()].find((box) => box.run > 0 && visible.has(box.path))?.path;
  useEffect(() => {
    const place = follow && active && placed?.nodes[active];
    if (!place || !holder.current) return;
    holder.current.scrollTo({ left: place.x * scale - holder.current.clientWidth / 2, top: place.y * scale - holder.current.clientHeight / 2 });
  }, [follow, active, placed]);

  function flip(path: string): void {
    const next = new Set(open);
    if (!next.delete(path)) next.add(path);
    setOpen(next);
  }

  if (graph.boxes.size === 0) return <div class="graph empty" ref={holder}><p>No node has begun yet.</p></div>;
  if (job.nodes.length > MOST) return <div class="graph empty" ref={holder}><p>{count(job.nodes.length)} nodes are too many to draw; the rows below tell the same.</p></div>;
  return (
    <div class="graph" ref={holder} tabIndex={0} role="group" aria-label="Graph" aria-busy={busy}>
      {placed && (
        <svg width={placed.width * scale} height={placed.height * scale} viewBox={`0 0 ${placed.width} ${placed.height}`}>
          <defs>
            {["plain", "walked"].map((kind) => (
              <marker key={kind} id={`arrow-${kind}`} class={`arrow ${kind}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse">
                <path d="M0 0 L8 4 L0 8 z" />
              </marker>
            ))}
          </defs>
          {[...graph.boxes.values()].filter((box) => placed.nodes[box.path] && open.has(box.path) && box.subgraph).map((box) => (
            <Cluster key={box.path} box={box} place={placed.nodes[box.path]!} flip={() => flip(box.path)} />
          ))}
          {placed.edges.map((edge) => {
            const known = [...graph.edges.values()].find((one) => one.from === edge.from && one.to === edge.to);
            return known && <Line key={`${edge.from} ${edge.to}`} points={edge.points} walked={known.count} conditional={known.conditional} text={known.label} />;
          })}
          {[...graph.edges.values()].filter((edge) => edge.from === edge.to && placed.nodes[edge.from]).map((edge) => (
            <Loop key={`loop ${edge.from}`} place={placed.nodes[edge.from]!} walked={edge.count} />
          ))}
          {[...graph.boxes.values()].filter((box) => placed.nodes[box.path] && !(open.has(box.path) && box.subgraph)).map((box) => (
            <Node key={box.path} box={box} place={placed.nodes[box.path]!} chosen={box.path === chosen} choose={choose} flip={flip} />
          ))}
        </svg>
      )}
    </div>
  );
}

type Place = Placed["nodes"][string];

function Node({ box, place, chosen, choose, flip }: { box: Box; place: Place; chosen: boolean; choose: (path: string) => void; flip: (path: string) => void }) {
  const shown = lookOf(box);
  const end = names(box.path);
  const x = place.x - place.width / 2;
  const y = place.y - place.height / 2;
  if (end) {
    return (
      <g class="terminal">
        <rect x={x} y={y} width={place.width} height={place.height} rx={13} />
        <text x={place.x} y={place.y + 4} text-anchor="middle">{end}</text>
      </g>
    );
  }
  const said = tallied(box);
  const ran = box.ok + box.fail + box.stop + box.wait;
  const about = `${shownPath(box.path)}: ${said || NAME[shown]}${ran ? `, ${duration(box.took / ran)} each` : ""}`;
  return (
    <g
      class={`node ${shown}${box.current ? " current" : ""}${chosen ? " chosen" : ""}`}
      role="button"
      tabIndex={0}
      aria-label={about}
      aria-pressed={chosen}
      onClick={() => choose(chosen ? "" : box.path)}
      onDblClick={() => box.subgraph && flip(box.path)}
      onKeyDown={(event) => {
        if (event.key === "Enter") choose(chosen ? "" : box.path);
        if (event.key === "o" && box.subgraph) flip(box.path);
      }}
    >
      <title>{about}{box.subgraph ? "\nDouble click, or o: open the subgraph" : ""}</title>
      <rect x={x} y={y} width={place.width} height={place.height} rx={7} />
      <rect class="side" x={x} y={y} width={5} height={place.height} rx={2} />
      <text class="name" x={x + 14} y={y + 19}>{box.breakpoint ? "⏸ " : ""}{cut(box.name, 26)}{box.subgraph ? " ⊞" : ""}</text>
      <text class="tally" x={x + 14} y={y + 37}>{said || "○"}</text>
    </g>
  );
}

function Cluster({ box, place, flip }: { box: Box; place: Place; flip: () => void }) {
  return (
    <g class={`cluster ${lookOf(box)}`} onDblClick={flip}>
      <rect x={place.x - place.width / 2} y={place.y - place.height / 2} width={place.width} height={place.height} rx={9} />
      <text role="button" tabIndex={0} x={place.x - place.width / 2 + 8} y={place.y - place.height / 2 + 14} onClick={flip} onKeyDown={(event) => event.key === "Enter" && flip()}>
        ⊟ {cut(box.name, 40)} {tallied(box)}
      </text>
    </g>
  );
}

function Line({ points, walked, conditional, text }: { points: { x: number; y: number }[]; walked: number; conditional: boolean; text: string }) {
  const path = curve(points);
  const middle = points[Math.floor(points.length / 2)]!;
  const said = walked > 1 ? `×${count(walked)}` : text;
  return (
    <g class={`edge ${walked ? "walked" : "plain"}${conditional ? " conditional" : ""}`}>
      <path d={path} marker-end={`url(#arrow-${walked ? "walked" : "plain"})`} style={{ strokeWidth: walked > 1 ? Math.min(5, 1.6 + Math.log2(walked) / 2) : undefined }} />
      {said && <text x={middle.x} y={middle.y - 6} text-anchor="middle">{cut(said, 18)}</text>}
    </g>
  );
}

function Loop({ place, walked }: { place: Place; walked: number }) {
  const x = place.x + place.width / 2 - 22;
  const y = place.y - place.height / 2;
  return (
    <g class={`edge ${walked ? "walked" : "plain"}`}>
      <path d={`M${x} ${y} C${x} ${y - 18} ${x + 18} ${y - 18} ${x + 16} ${y - 1}`} marker-end={`url(#arrow-${walked ? "walked" : "plain"})`} />
      {walked > 1 && <text x={x + 24} y={y - 6}>×{walked}</text>}
    </g>
  );
}

function curve(points: { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${first.x} ${first.y}`;
  for (let n = 0; n < rest.length - 1; n++) {
    const here = rest[n]!;
    const next = rest[n + 1]!;
    path += ` Q${here.x} ${here.y} ${(here.x + next.x) / 2} ${(here.y + next.y) / 2}`;
  }
  const last = rest.at(-1)!;
  return `${path} L${last.x} ${last.y}`;
}
