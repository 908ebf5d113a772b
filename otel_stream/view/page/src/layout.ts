/** Lays a graph out, in a worker: dagre takes longer than a frame. */
import { Graph as DagreGraph, layout } from "@dagrejs/dagre";

export interface Job {
  id: number;
  across: boolean;
  nodes: { id: string; width: number; height: number; parent: string; cluster: boolean }[];
  edges: { from: string; to: string }[];
}

export interface Placed {
  id: number;
  width: number;
  height: number;
  nodes: Record<string, { x: number; y: number; width: number; height: number }>;
  edges: { from: string; to: string; points: { x: number; y: number }[] }[];
}

export function place(job: Job): Placed {
  const graph = new DagreGraph({ compound: true, multigraph: false });
  graph.setGraph({ rankdir: job.across ? "LR" : "TB", nodesep: 22, ranksep: job.across ? 46 : 34, marginx: 12, marginy: 26 });
  graph.setDefaultEdgeLabel(() => ({}));
  const clusters = new Set(job.nodes.filter((node) => node.cluster).map((node) => node.id));
  for (const node of job.nodes) graph.setNode(node.id, node.cluster ? {} : { width: node.width, height: node.height });
  for (const node of job.nodes) if (clusters.has(node.parent)) graph.setParent(node.id, node.parent);
  for (const edge of job.edges) {
    // dagre knows no edges of clusters: those go to what is first inside, and from what is last.
    const from = inside(job, clusters, edge.from, false);
    const to = inside(job, clusters, edge.to, true);
    if (from !== to) graph.setEdge(from, to, { from: edge.from, to: edge.to });
  }
  layout(graph);
  const nodes: Placed["nodes"] = {};
  let right = 0;
  let bottom = 0;
  for (const id of graph.nodes()) {
    const { x, y, width, height } = graph.node(id) as { x: number; y: number; width: number; height: number };
    nodes[id] = { x, y, width, height };
    right = Math.max(right, x + width / 2);
    bottom = Math.max(bottom, y + height / 2);
  }
  const edges = graph.edges().map((key: { v: string; w: string }) => {
    const { points, from, to } = graph.edge(key) as unknown as { points: { x: number; y: number }[]; from: string; to: string };
    for (const point of points) {
      right = Math.max(right, point.x);
      bottom = Math.max(bottom, point.y);
    }
    return { from, to, points };
  });
  return { id: job.id, width: right + 12, height: bottom + 14, nodes, edges };
}

function inside(job: Job, clusters: Set<string>, id: string, first: boolean): string {
  let found = id;
  while (clusters.has(found)) {
    const below = job.nodes.filter((node) => node.parent === found).map((node) => node.id);
    const [near, far] = first ? ["__start__", "__end__"] : ["__end__", "__start__"];
    const inner = below.filter((one) => !one.endsWith(far!));
    const open = inner.filter((one) => !job.edges.some((edge) => (first ? edge.to : edge.from) === one));
    const next = below.find((one) => one.endsWith(near!)) ?? open[0] ?? (first ? inner[0] : inner.at(-1));
    if (!next) break;
    found = next;
  }
  return found;
}

if (typeof document === "undefined" && typeof self !== "undefined") {
  self.onmessage = (message: MessageEvent<Job>) => self.postMessage(place(message.data));
}
