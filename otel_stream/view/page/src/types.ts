/** What the API answers. Times are milliseconds since the epoch. */

export interface Run {
  key: string;
  graph: boolean;
  trace: string;
  name: string;
  service: string;
  thread?: string;
  started: number;
  ended?: number;
  state: string;
  root: string;
  steps: number;
  errors: number;
  tokens: number;
  spans: number;
  logs: number;
  seen: number;
  version: number;
  question?: string;
  resumes?: string;
  answered?: string;
  /** Parts that its receivers had lost at its end. */
  dropped?: number;
}

export interface Span {
  id: string;
  parent: string;
  name: string;
  kind: number;
  start: number;
  end_time: number | null;
  status: number;
  service: string;
  scope: string;
  node?: string;
  step?: number;
  task?: string;
  attempt?: number;
  attempts?: number;
  end?: string;
  width?: number;
  cached?: boolean;
  targets?: string[];
  ns?: string;
  run?: string;
  digest?: string;
  error?: string;
  operation?: string;
  tokens_in?: number;
  tokens_out?: number;
  triggers?: [string, string][];
}

export interface Event {
  n: number;
  time: number;
  name: string;
  span: string;
  size: number;
  node?: string;
  step?: number;
  task?: string;
  attempt?: number;
  ns?: string;
  seq?: number;
  form?: string;
  joined?: number;
  end?: string;
  encoding?: string;
  digest?: string;
}

export interface Part extends Event {
  body: string;
}

export interface Frame {
  version: number;
  run: Run;
  spans: Span[];
  events: Event[];
  siblings: Run[];
  more: boolean;
}

export interface Minute {
  runs: number;
  failed: number;
  p95: number | null;
}

export interface About {
  http: string;
  grpc: string | null;
  takes: boolean;
  capacity: number;
  unplaced: number;
  deleted: number;
  damaged: number;
  file: string | null;
  backend: string;
  states: Record<string, number>;
  minutes: Minute[];
  bytes: number;
  lost: number;
}

export interface Told {
  kind: string;
  bytes: number;
  size?: number;
  json?: string;
  preview?: string;
}

export interface Item extends Told {
  key: string | number;
}

export interface Value extends Told {
  items?: Item[];
  more?: number;
  text?: string;
}

export interface Key extends Item {
  how: "+" | "-" | "~" | "=";
  from?: number;
  added?: Item[];
  before?: Told;
}

export interface Outline {
  seq: number;
  step: number | null;
  trusted: boolean;
  why: string;
  whole: Told | null;
  keys: Key[];
}

export interface StateRow {
  seq: number;
  step: number | null;
  ns: string[];
  time: number;
  trusted: boolean;
  why: string;
  changed: string[];
}

export interface StateIndex {
  states: StateRow[];
  holes: string[];
  withheld: number;
}

export interface Message {
  id: string | null;
  role: string;
  name: string | null;
  node: string | null;
  text: string;
  /** Characters of the whole text, if that is longer. */
  size?: number;
  calls: { name: string; args: unknown }[];
  step?: number | null;
}

export interface Structure {
  name: string;
  nodes: { id: string; interrupt?: string; defer?: boolean }[];
  edges: { source: string; target: string; data?: string; conditional?: boolean }[];
  subgraphs?: Record<string, Structure>;
}

export interface LogRow {
  n: number;
  time: number;
  name: string;
  span: string;
  severity: number;
  body: string;
  attributes: Record<string, unknown>;
}

export interface Point {
  name: string;
  attributes: Record<string, string>;
  value: number;
}
