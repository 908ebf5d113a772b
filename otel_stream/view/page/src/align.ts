/** What two runs have in common: visits of nodes, by the node's place and how often it was visited before. */
import { kindOf, type Model } from "./model.ts";
import type { Look } from "./words.ts";

export interface Visit {
  node: string[];
  visit: number;
  times: number;
  took: number;
  look: Look;
  step: number | undefined;
  start: number;
}

export interface Pair {
  node: string[];
  visit: number;
  a: Visit | null;
  b: Visit | null;
}

/** Visits of the root graph's nodes, in the order in which they began; a fan-out is one visit. */
export function visits(model: Model): Visit[] {
  const seen = new Map<string, number>();
  const found = new Map<string, Visit & { end: number }>();
  const spans = [...model.spans.values()].filter((span) => kindOf(span) === "node" && model.path(span.id).length === 1);
  for (const span of spans.sort((a, b) => a.start - b.start)) {
    const node = model.path(span.id);
    const step = model.stepOf(span.id);
    const name = node.join("\u0001");
    const key = `${name} ${step ?? span.id}`;
    const look = model.lookOf(span);
    const known = found.get(key);
    if (known) {
      known.times++;
      known.end = Math.max(known.end, span.end_time ?? span.start);
      known.took = known.end - known.start;
      if (look === "fail") known.look = look;
      continue;
    }
    const visit = (seen.get(name) ?? 0) + 1;
    seen.set(name, visit);
    const end = span.end_time ?? span.start;
    found.set(key, { node, visit, times: 1, took: end - span.start, look, step, start: span.start, end });
  }
  return [...found.values()];
}

/** Each visit of either, with that of the other; in A's order, what only B has behind what came before it there. */
export function align(a: Visit[], b: Visit[]): Pair[] {
  const key = (one: Visit): string => `${one.node.join("\u0001")} ${one.visit}`;
  const theirs = new Map(b.map((one) => [key(one), one]));
  const ours = new Set(a.map(key));
  const pairs: Pair[] = a.map((one) => ({ node: one.node, visit: one.visit, a: one, b: theirs.get(key(one)) ?? null }));
  let before = -1;
  for (const one of b) {
    const place = pairs.findIndex((pair) => pair.b === one);
    if (place >= 0) before = Math.max(before, place);
    else if (!ours.has(key(one))) pairs.splice(++before, 0, { node: one.node, visit: one.visit, a: null, b: one });
  }
  return pairs;
}

export function firstDifference(pairs: Pair[]): string | null {
  const first = pairs.find(({ a, b }) => !a || !b || a.look !== b.look || a.times !== b.times);
  if (!first) return null;
  const step = first.a?.step ?? first.b?.step;
  return `${first.node.join(" / ")}${step === undefined ? "" : ` in step ${step}`}`;
}
