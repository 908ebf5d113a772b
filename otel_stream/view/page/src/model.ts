/** A run, from what has come of it so far: its spans as a tree, its steps, and the graph as it was walked. */
import type { Event, Frame, Run, Span, Structure } from "./types.ts";
import { failed, look, type Look } from "./words.ts";

export type Kind = "run" | "superstep" | "node" | "attempt" | "model" | "tool" | "other";

const MODELS = new Set(["chat", "text_completion", "generate_content", "embeddings"]);
/** How long after a run's end its last spans may be on their way. */
export const LATE = 15_000;
export const START = "__start__";
export const END = "__end__";

export function kindOf(span: Span): Kind {
  if (span.operation === "execute_tool") return "tool";
  if (span.operation && MODELS.has(span.operation)) return "model";
  if (span.name.startsWith("invoke_workflow") && (span.run || span.operation === "invoke_workflow")) return "run";
  if (span.node && span.name.startsWith("invoke_node")) return "node";
  if (span.name === "superstep" && (span.step !== undefined || span.scope.startsWith("otel_stream"))) return "superstep";
  if (span.name === "attempt" && span.attempt !== undefined) return "attempt";
  return "other";
}

export function label(span: Span): string {
  const kind = kindOf(span);
  if (kind === "superstep") return `superstep ${span.step ?? "?"}`;
  if (kind === "attempt") return `attempt ${span.attempt}${(span.attempt ?? 1) > 1 ? " ⟲" : ""}`;
  if (kind === "node") return span.node!;
  if (kind === "run") return span.name.slice("invoke_workflow ".length);
  return span.name;
}

export interface Step {
  step: number;
  start: number;
  end: number | null;
  look: Look;
  interrupted: boolean;
}

export class Model {
  readonly spans = new Map<string, Span>();
  readonly children = new Map<string, string[]>();
  readonly events: Event[] = [];
  readonly #known = new Set<number>();
  run: Run;
  siblings: Run[] = [];
  version = 0;
  more = false;
  #paths = new Map<string, string[]>();
  #steps = new Map<string, number | undefined>();

  constructor(run: Run) {
    this.run = run;
  }

  add(frame: Frame): void {
    this.run = frame.run;
    this.siblings = frame.siblings;
    this.version = frame.version;
    this.more ||= frame.more;
    const touched = new Set<string>();
    for (const span of frame.spans) {
      const before = this.spans.get(span.id);
      this.spans.set(span.id, span);
      if (before?.parent !== span.parent) {
        if (before) this.children.set(before.parent, this.below(before.parent).filter((id) => id !== span.id));
        const list = this.children.get(span.parent);
        if (list) list.push(span.id);
        else this.children.set(span.parent, [span.id]);
      }
      touched.add(span.parent);
    }
    for (const parent of touched) {
      this.children.get(parent)?.sort((a, b) => this.spans.get(a)!.start - this.spans.get(b)!.start);
    }
    for (const event of frame.events) {
      if (this.#known.has(event.n)) continue;
      this.#known.add(event.n);
      this.events.push(event);
    }
    this.#paths.clear();
    this.#steps.clear();
  }

  below(id: string): string[] {
    return this.children.get(id) ?? [];
  }

  /** Spans to begin with: the run's own, or whatever has no parent that is here. */
  roots(whole: boolean): string[] {
    if (!whole && this.spans.has(this.run.root)) return [this.run.root];
    const found: string[] = [];
    for (const span of this.spans.values()) if (!this.spans.has(span.parent)) found.push(span.id);
    return found.sort((a, b) => this.spans.get(a)!.start - this.spans.get(b)!.start);
  }

  /** Whether the trace has more than this run. */
  get surrounded(): boolean {
    const root = this.spans.get(this.run.root);
    return this.siblings.length > 0 || (root !== undefined && this.spans.has(root.parent));
  }

  lookOf(span: Span): Look {
    if (span.end_time === null) return this.run.state === "running" || Date.now() < (this.run.ended ?? 0) + LATE ? "run" : "stop";
    if (span.status === 2 || failed(span.end)) return "fail";
    return look(span.end ?? "ok");
  }

  /** Names of the nodes from the root to this one: subgraphs are inside of nodes. */
  path(id: string): string[] {
    const known = this.#paths.get(id);
    if (known) return known;
    const span = this.spans.get(id);
    this.#paths.set(id, []); // a circle of parents, from whoever sends one
    const above = span ? this.path(span.parent) : [];
    const path = span && kindOf(span) === "node" ? [...above, span.node!] : above;
    this.#paths.set(id, path);
    return path;
  }

  /** The superstep of the root run that a span is in. */
  stepOf(id: string): number | undefined {
    if (this.#steps.has(id)) return this.#steps.get(id);
    this.#steps.set(id, undefined);
    const span = this.spans.get(id);
    if (!span || id === this.run.root) return undefined;
    const above = this.stepOf(span.parent);
    const kind = kindOf(span);
    const step = above ?? (kind === "superstep" || kind === "node" ? span.step : undefined);
    this.#steps.set(id, step);
    return step;
  }

  /** Supersteps of the root run, from their spans, and from log events where those are not here yet. */
  steps(): Step[] {
    const found = new Map<number, Step>();
    for (const event of this.events) {
      if (event.step === undefined || event.step < 1 || event.ns || event.end) continue;
      const step = found.get(event.step);
      if (step) step.end = Math.max(step.end ?? 0, event.time);
      else found.set(event.step, { step: event.step, start: event.time, end: event.time, look: "ok", interrupted: false });
      if (event.name === "graph.interrupt") found.get(event.step)!.interrupted = true;
    }
    for (const id of this.below(this.run.root)) {
      const span = this.spans.get(id)!;
      if (kindOf(span) !== "superstep" || span.step === undefined) continue;
      const shown = this.lookOf(span);
      found.set(span.step, {
        step: span.step,
        start: span.start,
        end: span.end_time,
        look: shown,
        interrupted: shown === "wait" || (found.get(span.step)?.interrupted ?? false),
      });
    }
    return [...found.values()].sort((a, b) => a.step - b.step);
  }

  /** From when to when; to now, as long as it runs. */
  range(now: number, whole = false): [number, number] {
    let start = this.run.started;
    let end = this.run.ended ?? start;
    for (const span of this.spans.values()) {
      if (!whole && this.run.graph && this.spans.has(this.run.root) && span.start < this.run.started) continue;
      start = Math.min(start, span.start);
      end = Math.max(end, span.end_time ?? span.start);
    }
    for (const event of this.events) end = Math.max(end, event.time);
    if (this.run.state === "running") end = Math.max(end, Math.min(now, this.run.seen + 600_000));
    return [start, Math.max(end, start + 0.001)];
  }
}

// -- the graph -------------------------------------------------------------------------------------

export interface Box {
  path: string;
  name: string;
  parent: string;
  declared: boolean;
  breakpoint: boolean;
  run: number;
  ok: number;
  fail: number;
  wait: number;
  stop: number;
  retries: number;
  cached: number;
  tokens: number;
  took: number;
  last: number;
  current: boolean;
  subgraph: boolean;
}

export interface Edge {
  from: string;
  to: string;
  count: number;
  declared: boolean;
  conditional: boolean;
  label: string;
}

export interface Graph {
  boxes: Map<string, Box>;
  edges: Map<string, Edge>;
}

const SLASH = "\u0001";

function box(graph: Graph, path: string, declared: boolean): Box {
  let found = graph.boxes.get(path);
  if (!found) {
    const cut = path.lastIndexOf(SLASH);
    found = {
      path,
      name: path.slice(cut + 1),
      parent: cut < 0 ? "" : path.slice(0, cut),
      declared,
      breakpoint: false,
      run: 0,
      ok: 0,
      fail: 0,
      wait: 0,
      stop: 0,
      retries: 0,
      cached: 0,
      tokens: 0,
      took: 0,
      last: 0,
      current: false,
      subgraph: false,
    };
    graph.boxes.set(path, found);
    const above = graph.boxes.get(found.parent);
    if (above) above.subgraph = true;
  }
  return found;
}

function edge(graph: Graph, from: string, to: string): Edge {
  const key = `${from}${SLASH}${SLASH}${to}`;
  let found = graph.edges.get(key);
  if (!found) {
    found = { from, to, count: 0, declared: false, conditional: false, label: "" };
    graph.edges.set(key, found);
  }
  return found;
}

function declare(graph: Graph, structure: Structure, above: string): void {
  const at = (id: string): string => (above ? `${above}${SLASH}${id}` : id);
  for (const node of structure.nodes) {
    box(graph, at(node.id), true).breakpoint = Boolean(node.interrupt);
  }
  for (const one of structure.edges) {
    const found = edge(graph, at(one.source), at(one.target));
    found.declared = true;
    found.conditional = Boolean(one.conditional);
    found.label = one.data ?? "";
  }
  for (const [name, inner] of Object.entries(structure.subgraphs ?? {})) {
    if (graph.boxes.has(at(name))) declare(graph, inner, at(name));
  }
}

/** The graph as it was declared, if that is known, and as it was walked up to superstep `upTo`. */
export function graphOf(model: Model, structure: Structure | null, upTo: number | null): Graph {
  const graph: Graph = { boxes: new Map(), edges: new Map() };
  if (structure) declare(graph, structure, "");
  const nodes: [Span, string][] = [];
  for (const span of model.spans.values()) {
    if (kindOf(span) !== "node") continue;
    const step = model.stepOf(span.id);
    if (upTo !== null && step !== undefined && step > upTo) continue;
    const path = model.path(span.id);
    for (let n = 1; n <= path.length; n++) box(graph, path.slice(0, n).join(SLASH), false);
    nodes.push([span, path.join(SLASH)]);
    tally(graph.boxes.get(path.join(SLASH))!, span, model.lookOf(span), step !== undefined && step === upTo);
  }
  for (const [span, path] of nodes) {
    const above = path.includes(SLASH) ? `${path.slice(0, path.lastIndexOf(SLASH))}${SLASH}` : "";
    if (!span.triggers?.length) {
      if ((span.step ?? 1) <= 1) edge(graph, `${above}${START}`, path).count++;
      continue;
    }
    const from = new Set(span.triggers.filter(([id]) => model.spans.has(id)).map(([id]) => model.path(id).join(SLASH)));
    for (const one of from) edge(graph, one, path).count++;
  }
  for (const one of [...graph.edges.values()]) {
    for (const end of [one.from, one.to]) if (end.endsWith(START) || end.endsWith(END)) box(graph, end, false);
  }
  if (!structure && nodes.length > 0 && model.run.state !== "running") finish(graph);
  return graph;
}

function tally(found: Box, span: Span, shown: Look, current: boolean): void {
  if (shown !== "idle") found[shown]++;
  found.retries += (span.attempts ?? 1) - 1;
  found.cached += span.cached ? 1 : 0;
  found.took += (span.end_time ?? span.start) - span.start;
  found.last = Math.max(found.last, span.end_time ?? span.start);
  found.current ||= current;
}

/** Lead what leads nowhere to the end: what comes next is known only of what was walked. */
function finish(graph: Graph): void {
  const leads = new Set([...graph.edges.values()].filter((one) => one.from !== one.to).map((one) => one.from));
  for (const one of [...graph.boxes.values()]) {
    if (!one.parent && !leads.has(one.path) && !one.name.startsWith("__") && one.ok > 0) {
      edge(graph, one.path, END).count = 1;
      box(graph, END, false);
    }
  }
}

// -- rows of the waterfall -------------------------------------------------------------------------

export interface Row {
  id: string;
  span: Span | null;
  depth: number;
  label: string;
  note: string;
  start: number;
  end: number | null;
  look: Look;
  kind: Kind | "group" | "ghost";
  foldable: boolean;
  open: boolean;
  retried: boolean;
}

export interface Wanted {
  flipped: ReadonlySet<string>;
  query: string;
  errors: boolean;
  whole: boolean;
}

/** As many of the same name side by side are one row. */
const ALIKE = 5;

export function rowsOf(model: Model, wanted: Wanted): Row[] {
  const rows: Row[] = [];
  const hits = wanted.query || wanted.errors ? matching(model, wanted) : null;
  const small = model.spans.size < 60;
  const seen = new Set<string>();

  function one(id: string, depth: number): void {
    const span = model.spans.get(id)!;
    if (seen.has(id) || (hits && !hits.has(id))) return;
    seen.add(id);
    const kind = kindOf(span);
    const below = model.below(id);
    const opened = hits !== null || small || kind === "run" || (kind === "superstep" && depth <= 2) || (kind === "other" && depth < 4);
    const open = below.length > 0 && opened !== wanted.flipped.has(id);
    rows.push({
      id,
      span,
      depth,
      label: label(span),
      note: noteOf(span, below.length, open),
      start: span.start,
      end: span.end_time,
      look: model.lookOf(span),
      kind,
      foldable: below.length > 0,
      open,
      retried: (span.attempts ?? 1) > 1,
    });
    if (open) many(below, depth + 1);
  }

  function many(ids: string[], depth: number): void {
    const groups = new Map<string, string[]>();
    for (const id of ids) {
      const name = model.spans.get(id)!.name;
      const group = groups.get(name);
      if (group) group.push(id);
      else groups.set(name, [id]);
    }
    const done = new Set<string>();
    for (const id of ids) {
      const span = model.spans.get(id)!;
      const group = groups.get(span.name)!;
      if (group.length < ALIKE || kindOf(span) === "superstep" || hits) {
        one(id, depth);
        continue;
      }
      if (done.has(span.name)) continue;
      done.add(span.name);
      const row = grouped(model, group, depth, wanted.flipped);
      rows.push(row);
      if (row.open) for (const each of group) one(each, depth + 1);
    }
  }

  const roots = model.roots(wanted.whole || !model.run.graph);
  const root = roots[0] === undefined ? undefined : model.spans.get(roots[0]);
  const orphans = roots.length > 1 || (root !== undefined && root.parent !== "" && roots[0] !== model.run.root);
  if (orphans && model.run.state === "running") {
    rows.push({ id: "ghost", span: null, depth: 0, label: "┄ parent not here yet ┄", note: "", start: model.run.started, end: null, look: "run", kind: "ghost", foldable: false, open: true, retried: false });
    many(roots, 1);
  } else many(roots, 0);
  return rows;
}

function noteOf(span: Span, below: number, open: boolean): string {
  const said: string[] = [];
  if ((span.attempts ?? 1) > 1) said.push(`⟲${span.attempts! - 1}`);
  if (span.cached) said.push("cached");
  if (span.tokens_in !== undefined || span.tokens_out !== undefined) said.push(`${(span.tokens_in ?? 0) + (span.tokens_out ?? 0)} tok`);
  if (span.error) said.push(span.error);
  if (below > 0 && !open) said.push(`+${below}`);
  return said.join(" ");
}

function grouped(model: Model, ids: string[], depth: number, flipped: ReadonlySet<string>): Row {
  const spans = ids.map((id) => model.spans.get(id)!);
  const looks = spans.map((span) => model.lookOf(span));
  const bad = looks.filter((one) => one === "fail").length;
  const running = looks.filter((one) => one === "run").length;
  const retries = spans.reduce((sum, span) => sum + (span.attempts ?? 1) - 1, 0);
  const id = `group ${ids[0]}`;
  const note = [running ? `●${running}` : "", bad ? `✖${bad}` : "", retries ? `⟲${retries}` : ""].filter(Boolean).join(" ");
  return {
    id,
    span: null,
    depth,
    label: `${label(spans[0]!)} ×${ids.length}`,
    note,
    start: Math.min(...spans.map((span) => span.start)),
    end: running ? null : Math.max(...spans.map((span) => span.end_time ?? span.start)),
    look: running ? "run" : bad ? "fail" : "ok",
    kind: "group",
    foldable: true,
    open: flipped.has(id),
    retried: retries > 0,
  };
}

/** Ids of spans that match, and of all above them. */
function matching(model: Model, wanted: Wanted): Set<string> {
  const query = wanted.query.toLowerCase();
  const found = new Set<string>();
  for (const span of model.spans.values()) {
    if (wanted.errors && span.status !== 2) continue;
    if (query && !`${span.name} ${span.node ?? ""} ${span.error ?? ""} ${span.id} ${span.service} ${span.task ?? ""}`.toLowerCase().includes(query)) continue;
    let id = span.id;
    while (id && !found.has(id) && model.spans.has(id)) {
      found.add(id);
      id = model.spans.get(id)!.parent;
    }
  }
  return found;
}

export const shownPath = (path: string): string => path.replaceAll(SLASH, " / ");
