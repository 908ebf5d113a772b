import { strict as assert } from "node:assert";
import { test } from "node:test";
import { align, firstDifference, visits } from "../src/align.ts";
import { place } from "../src/layout.ts";
import { graphOf, Model, rowsOf } from "../src/model.ts";
import type { Frame, Run, Span } from "../src/types.ts";
import { duration, size } from "../src/words.ts";

const RUN: Run = { key: "r", graph: true, trace: "t", name: "g", service: "s", started: 0, state: "running", root: "0", steps: 0, errors: 0, tokens: 0, spans: 0, logs: 0, seen: 0, version: 1 };
const ALL = { flipped: new Set<string>(), query: "", errors: false, whole: false };

function span(id: string, parent: string, name: string, start: number, end: number | null, more: Partial<Span> = {}): Span {
  return { id, parent, name, kind: 1, start, end_time: end, status: 0, service: "s", scope: "otel_stream", ...more };
}
function frame(spans: Span[], run: Partial<Run> = {}): Frame {
  return { version: 1, run: { ...RUN, ...run }, spans, events: [], siblings: [], more: false };
}
function model(spans: Span[], run: Partial<Run> = {}): Model {
  const found = new Model({ ...RUN, ...run });
  found.add(frame(spans, run));
  return found;
}
const root = (end: number | null = null): Span => span("0", "", "invoke_workflow g", 0, end, { run: "r" });
const step = (id: string, n: number, start: number, end: number | null = null): Span => span(id, "0", "superstep", start, end, { step: n });
const node = (id: string, parent: string, name: string, n: number, start: number, end: number | null, more: Partial<Span> = {}): Span => span(id, parent, `invoke_node ${name}`, start, end, { node: name, step: n, ...more });

test("what has begun is running, and over when its end arrives, whichever came first", () => {
  const found = model([root(), step("1", 1, 1), node("2", "1", "plan", 1, 1, null)]);
  assert.equal(graphOf(found, null, null).boxes.get("plan")?.run, 1);
  found.add(frame([node("2", "1", "plan", 1, 1, 5)]));
  const box = graphOf(found, null, null).boxes.get("plan");
  assert.deepEqual([box?.run, box?.ok], [0, 1]);
  assert.deepEqual(found.below("1"), ["2"]);
});

test("the graph has what was declared, and counts what was walked along its edges", () => {
  const structure = { name: "g", nodes: ["__start__", "a", "b", "c", "__end__"].map((id) => ({ id })), edges: [{ source: "__start__", target: "a" }, { source: "a", target: "b", conditional: true }, { source: "a", target: "c", conditional: true }, { source: "b", target: "__end__" }] };
  const found = model([root(), step("1", 1, 1, 2), node("a1", "1", "a", 1, 1, 2), step("2", 2, 2), node("b1", "2", "b", 2, 2, null, { triggers: [["a1", "b"]] }), node("b2", "2", "b", 2, 2, 3, { triggers: [["a1", "b"]], status: 2 })]);
  const graph = graphOf(found, structure, null);
  assert.deepEqual([...graph.edges.values()].map((edge) => [edge.from, edge.to, edge.count, edge.conditional]), [["__start__", "a", 1, false], ["a", "b", 2, true], ["a", "c", 0, true], ["b", "__end__", 0, false]]);
  const b = graph.boxes.get("b");
  assert.deepEqual([b?.run, b?.fail, graph.boxes.get("c")?.ok], [1, 1, 0]);
  assert.deepEqual([...graphOf(found, null, 1).boxes.keys()], ["a", "__start__"], "up to a superstep");
});

test("nodes of a subgraph are inside of the node that it is", () => {
  const found = model([root(), step("1", 1, 1), node("2", "1", "sub", 1, 1, null), span("3", "2", "invoke_workflow inner", 1, null, { run: "r", ns: "sub:1" }), step("4", 1, 1), node("5", "4", "x", 1, 1, null)].map((one) => (one.id === "4" ? { ...one, parent: "3" } : one)));
  const boxes = graphOf(found, null, null).boxes;
  assert.deepEqual([...boxes.values()].map((box) => [box.name, box.parent, box.subgraph]), [["sub", "", true], ["x", "sub", false], ["__start__", "", false], ["__start__", "sub", false]]);
  assert.equal(found.stepOf("5"), 1);
});

test("a fan-out is one row until it is unfolded", () => {
  const many = Array.from({ length: 40 }, (_, n) => node(`n${n}`, "1", "search", 1, n, n + 1, n === 3 ? { status: 2 } : {}));
  const spans = [root(), step("1", 1, 0), ...many, ...Array.from({ length: 30 }, (_, n) => span(`u${n}`, "n0", "GET", n, n + 1))];
  const found = model(spans);
  assert.deepEqual(rowsOf(found, ALL).map((row) => row.label), ["g", "superstep 1", "search ×40"]);
  assert.equal(rowsOf(found, ALL)[2]?.note, "✖1");
  const open = rowsOf(found, { ...ALL, flipped: new Set(["group n0"]) });
  assert.equal(open.length, 43);
  assert.deepEqual(rowsOf(found, { ...ALL, errors: true }).map((row) => row.id), ["0", "1", "n3"]);
  assert.deepEqual(rowsOf(found, { ...ALL, query: "get" }).length, 3 + 30);
});

test("spans whose parents are circles, or not here, end no page", () => {
  const found = model([span("a", "b", "x", 0, 1), span("b", "a", "y", 0, 1), span("c", "gone", "z", 0, null)]);
  assert.deepEqual(rowsOf(found, ALL).map((row) => row.label), ["┄ parent not here yet ┄", "z"]);
  assert.deepEqual(found.path("a"), []);
  assert.equal(found.stepOf("a"), undefined);
});

test("two runs are aligned by node and visit, so one more step shifts nothing", () => {
  const spans = (more: boolean): Span[] => [root(9), step("1", 1, 0, 1), node("a", "1", "a", 1, 0, 1), ...(more ? [step("x", 2, 1, 2), node("xx", "x", "extra", 2, 1, 2)] : []), step("2", more ? 3 : 2, 2, 3), node("b", "2", "b", more ? 3 : 2, 2, 3)];
  const pairs = align(visits(model(spans(false))), visits(model(spans(true))));
  assert.deepEqual(pairs.map((pair) => [pair.node[0], pair.a !== null, pair.b !== null]), [["a", true, true], ["extra", false, true], ["b", true, true]]);
  assert.equal(firstDifference(pairs), "extra in step 2");
});

test("a layout keeps boxes apart, and leads edges of an open subgraph to what is first in it", () => {
  const box = (id: string, parent = "", cluster = false) => ({ id, parent, cluster, width: 100, height: 40 });
  const placed = place({ id: 1, across: true, nodes: [box("a"), box("s", "", true), box("x", "s"), box("y", "s"), box("b")], edges: [{ from: "a", to: "s" }, { from: "x", to: "y" }, { from: "s", to: "b" }] });
  const x = (id: string): number => placed.nodes[id]!.x;
  assert.ok(x("a") < x("x") && x("x") < x("y") && x("y") < x("b"));
  assert.deepEqual(placed.edges.map(({ from, to }) => [from, to]), [["a", "s"], ["x", "y"], ["s", "b"]]);
});

test("numbers are said as people say them", () => {
  assert.deepEqual([0.5, 5, 999, 1500, 65_000, 7_260_000].map(duration), ["0.50 ms", "5.0 ms", "999 ms", "1.50 s", "1 m 5 s", "2 h 1 m"]);
  assert.deepEqual([12, 1200, 45_000, 3_400_000].map(size), ["12 B", "1.2 kB", "45 kB", "3.4 MB"]);
});
