/** One run: its graph and its rows, with everything else beside them, all at the same step. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { again, ask, live } from "./api.ts";
import { GraphView } from "./graph.tsx";
import { graphOf, kindOf, LATE, Model, rowsOf, shownPath, type Row } from "./model.ts";
import { AccountPane, LogsPane, MessagesPane, SpanPane, StatePane, StreamPane } from "./panes.tsx";
import { choose, chosen, href } from "./route.ts";
import type { About, Frame, Structure } from "./types.ts";
import { Waterfall } from "./waterfall.tsx";
import { clock, count, duration, look, NAME, SIGN } from "./words.ts";

const TABS = ["State", "Stream", "Messages", "Receivers", "Logs", "Span"] as const;
const structures = new Map<string, Promise<Structure | null>>();

function structureOf(digest: string): Promise<Structure | null> {
  let known = structures.get(digest);
  if (!known) {
    known = ask<Structure>(`structures/${digest}`).catch(() => {
      structures.delete(digest); // it may come yet
      return null;
    });
    structures.set(digest, known);
  }
  return known;
}

/** A model changes in place, so `version` is passed with it: who has the same properties is not drawn again. */
export function RunPage({ id, about }: { id: string; about: About | null }) {
  const [model, setModel] = useState<Model | null>(null);
  const [, setVersion] = useState(0);
  const [gone, setGone] = useState("");
  useEffect(() => {
    let made: Model | null = null;
    setModel(null);
    setGone("");
    let frame = 0;
    const stop = live<Frame>({ run: id }, 0, (news) => {
      made ??= new Model(news.run);
      made.add(news);
      // News that come between two pictures are drawn once.
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        setModel(made);
        setVersion(made!.version);
      });
    }, setGone);
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [id]);
  if (gone) return <main><p class="warn">{gone}</p></main>;
  if (!model) return <main aria-busy="true"><p class="hint">…</p></main>;
  return <Shown model={model} about={about} />;
}

function useNow(running: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, [running]);
  return running ? Math.max(now, Date.now()) : now;
}

function Shown({ model, about }: { model: Model; about: About | null }) {
  const run = model.run;
  const running = run.state === "running";
  const now = useNow(running || Date.now() < (run.ended ?? 0) + LATE);
  const steps = useMemo(() => model.steps(), [model.version]);
  const last = steps.at(-1)?.step ?? 0;
  const asked = chosen("step");
  const step = asked === "" ? null : Math.max(0, Math.min(Number(asked) || 0, last));
  const span = chosen("span");
  const tab = chosen("tab") || (span ? "Span" : "State");
  const query = chosen("q");
  const errors = chosen("only") === "err";
  const whole = chosen("whole") === "1";
  const node = chosen("node");
  const [flipped, setFlipped] = useState<ReadonlySet<string>>(new Set());
  const [window, setWindow] = useState<[number, number] | null>(null);
  const [playing, setPlaying] = useState(false);
  const [structure, setStructure] = useState<Structure | null>(null);
  const find = useRef<HTMLInputElement>(null);

  const digest = useMemo(() => model.spans.get(run.root)?.digest ?? model.events.find((event) => event.digest && !event.ns)?.digest, [model.version]);
  useEffect(() => {
    if (digest) void structureOf(digest).then(setStructure);
  }, [digest]);

  const graph = useMemo(() => graphOf(model, structure, step), [model.version, structure, step]);
  const rows = useMemo(() => {
    const found = rowsOf(model, { flipped, query, errors, whole });
    return node ? onlyNode(model, found, node) : found;
  }, [model.version, flipped, query, errors, whole, node]);
  const range = model.range(now, whole);
  const shownStep = steps.find((one) => one.step === step);
  const zoom = window ?? (shownStep ? padded(shownStep.start, shownStep.end ?? now) : null);

  const near = useMemo(() => {
    const found = model.below(run.root).find((id) => step !== null && model.spans.get(id)?.step === step);
    return found ?? "";
  }, [model.version, step]);

  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => {
      const next = (step ?? 0) + 1;
      if (next > last) setPlaying(false);
      else choose({ step: String(next) });
    }, 600);
    return () => clearInterval(timer);
  }, [playing, step, last]);

  function toStep(next: number | null): void {
    setWindow(null);
    choose({ step: next === null ? null : String(Math.max(1, Math.min(next, last))) });
  }
  function pick(id: string): void {
    reveal(model, id, rows, flipped, setFlipped);
    choose({ span: id, tab: "Span" });
  }
  function flip(id: string): void {
    const next = new Set(flipped);
    if (!next.delete(id)) next.add(id);
    setFlipped(next);
  }
  function nextError(): void {
    const bad = [...model.spans.values()].filter((one) => one.status === 2).sort((a, b) => a.start - b.start);
    const here = bad.findIndex((one) => one.id === span);
    const next = bad[(here + 1) % bad.length];
    if (next) pick(next.id);
  }

  const keys = useRef<(event: KeyboardEvent) => void>(() => undefined);
  keys.current = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    if (target.tagName === "INPUT" || target.tagName === "SELECT") {
      if (event.key === "Escape") target.blur();
      return;
    }
    const index = rows.findIndex((row) => row.id === span);
    const move = (by: number): void => {
      const next = rows[Math.max(0, Math.min(rows.length - 1, index + by))];
      if (next) choose({ span: next.id, tab: next.span ? "Span" : tab });
    };
    const acts: Record<string, () => void> = {
      j: () => move(1),
      k: () => move(-1),
      h: () => rows[index]?.open && rows[index].foldable && flip(rows[index].id),
      l: () => rows[index] && !rows[index].open && rows[index].foldable && flip(rows[index].id),
      "[": () => toStep((step ?? last) - 1),
      "]": () => toStep((step ?? 0) + 1),
      f: () => toStep(null),
      e: nextError,
      "/": () => find.current?.focus(),
      z: () => rows[index] && setWindow(padded(rows[index].start, rows[index].end ?? now)),
      c: () => void navigator.clipboard.writeText(location.href),
      Escape: () => {
        setWindow(null);
        setFlipped(new Set());
        choose({ step: null, span: null, node: null, q: null, only: null, tab: null });
      },
    };
    if (event.key === " " && target.tagName !== "BUTTON") acts[" "] = () => setPlaying(!playing);
    const act = acts[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  };
  useEffect(() => {
    const heard = (event: KeyboardEvent): void => keys.current(event);
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, []);

  return (
    <main class="run">
      <Head model={model} version={model.version} about={about} now={now} />
      {steps.length > 0 && (
        <div class="steps">
          <button onClick={() => setPlaying(!playing)} aria-label={playing ? "Pause" : "Play through the steps"}>{playing ? "❚❚" : "▶"}</button>
          <div class="track">
          <input type="range" min={1} max={Math.max(1, last)} value={step ?? last} aria-label="Superstep" aria-valuetext={step === null ? `newest, step ${last}` : `step ${step}`} onInput={(event) => toStep(Number(event.currentTarget.value))} />
          <span class="marks" aria-hidden="true">
            {steps.map((one) => (
              <button key={one.step} tabIndex={-1} class={`mark ${one.look}${one.step === step ? " here" : ""}`} style={{ left: `${last > 1 ? ((one.step - 1) / (last - 1)) * 100 : 0}%` }} title={`step ${one.step}: ${NAME[one.look]}${one.end === null ? "" : `, ${duration(one.end - one.start)}`}`} onClick={() => toStep(one.step)} />
            ))}
          </span>
          </div>
          <output>{step === null ? `${last} steps` : `step ${step} of ${last}`}</output>
          <button disabled={step === null} onClick={() => toStep(null)} title="f">follow</button>
        </div>
      )}
      {run.question && run.state === "interrupted" && !run.answered && <Question text={run.question} />}
      <div class="left">
        {run.graph && <GraphView graph={graph} chosen={node} follow={running && step === null} choose={(path) => choose({ node: path || null })} />}
        <div class="tools">
          <input ref={find} type="search" placeholder="/ find spans" aria-label="Find spans" value={query} onInput={(event) => choose({ q: event.currentTarget.value })} />
          <button aria-pressed={errors} onClick={() => choose({ only: errors ? null : "err" })}>errors</button>
          {model.surrounded && <button aria-pressed={whole} onClick={() => choose({ whole: whole ? null : "1" })}>whole trace</button>}
          {node && <button class="chip" onClick={() => choose({ node: null })} aria-label={`Show other nodes than ${shownPath(node)}, too`}>{shownPath(node)} ×</button>}
          <span class="grow" />
          <span class="hint">{count(model.spans.size)} spans</span>
          {zoom && <button onClick={() => (setWindow(null), choose({ step: null }))}>whole run</button>}
        </div>
        <Waterfall model={model} rows={rows} range={range} now={now} window={zoom} setWindow={setWindow} near={near} chosen={span} choose={pick} flip={flip} />
      </div>
      <section class="right" aria-label="Details">
        <div role="tablist" class="tabs">
          {TABS.map((name) => (
            <button key={name} role="tab" id={`tab-${name}`} aria-selected={tab === name} aria-controls="pane" tabIndex={tab === name ? 0 : -1} onClick={() => choose({ tab: name })} onKeyDown={(event) => turn(event, tab)}>{name}</button>
          ))}
        </div>
        <div role="tabpanel" id="pane" class="pane" aria-labelledby={`tab-${tab}`} tabIndex={0}>
          {tab === "State" && <StatePane model={model} version={model.version} step={step} />}
          {tab === "Stream" && <StreamPane model={model} version={model.version} step={step} node={node.split("\u0001").at(-1) ?? ""} span={span} choose={pick} />}
          {tab === "Messages" && <MessagesPane model={model} version={model.version} />}
          {tab === "Receivers" && <AccountPane model={model} version={model.version} />}
          {tab === "Logs" && <LogsPane model={model} version={model.version} choose={pick} />}
          {tab === "Span" && <SpanPane model={model} version={model.version} id={span} choose={pick} />}
        </div>
      </section>
    </main>
  );
}

function padded(start: number, end: number): [number, number] {
  const more = Math.max((end - start) * 0.04, 0.05);
  return [start - more, end + more];
}

function turn(event: KeyboardEvent, tab: string): void {
  const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
  if (!by) return;
  const next = TABS[(TABS.indexOf(tab as (typeof TABS)[number]) + by + TABS.length) % TABS.length]!;
  choose({ tab: next });
  document.getElementById(`tab-${next}`)?.focus();
}

/** Rows of one node, with what is above and below them. */
function onlyNode(model: Model, rows: Row[], node: string): Row[] {
  return rows.filter((row) => {
    if (!row.span) return false;
    const path = model.path(row.id).join("\u0001");
    return path === node || path.startsWith(`${node}\u0001`) || (kindOf(row.span) === "superstep" && !path) || row.kind === "run";
  });
}

/** Unfold what is above a span, so that its row is there. */
function reveal(model: Model, id: string, rows: Row[], flipped: ReadonlySet<string>, set: (flipped: ReadonlySet<string>) => void): void {
  if (rows.some((row) => row.id === id)) return;
  let next = flipped;
  for (let turns = 0; turns < 30; turns++) {
    const shown = rowsOf(model, { flipped: next, query: "", errors: false, whole: false });
    if (shown.some((row) => row.id === id)) break;
    const above: string[] = [];
    for (let at = id; model.spans.has(at) && !above.includes(at); at = model.spans.get(at)!.parent) above.push(at);
    const name = (one: string): string => model.spans.get(one)!.name;
    const closed = shown.find((row) => row.foldable && !row.open && (above.includes(row.id) || (row.kind === "group" && above.some((one) => isIn(model, row, one, name)))));
    if (!closed) break;
    next = new Set(next);
    const changed = next as Set<string>;
    if (!changed.delete(closed.id)) changed.add(closed.id);
  }
  if (next !== flipped) set(next);
}

function isIn(model: Model, group: Row, id: string, name: (id: string) => string): boolean {
  const first = group.id.slice("group ".length);
  return model.spans.get(first)?.parent === model.spans.get(id)?.parent && name(first) === name(id);
}

function Question({ text }: { text: string }) {
  let said = text;
  try {
    const found = again<{ value?: unknown }[]>(text);
    said = found.map((one) => (typeof one.value === "string" ? one.value : JSON.stringify(one.value))).join(" · ");
  } catch {
    // Cut off, or no JSON: shown as it came.
  }
  return <p class="question" role="status"><span class="sign wait">◐</span> waits for a human: <strong>{said}</strong></p>;
}

function Head({ model, about, now }: { model: Model; version: number; about: About | null; now: number }) {
  const run = model.run;
  const shown = look(run.state);
  const running = run.state === "running";
  const silent = running && now - run.seen > 30_000;
  const [copied, setCopied] = useState(false);
  const backend = about?.backend ? about.backend.replaceAll("{trace_id}", encodeURIComponent(run.trace)) : "";
  return (
    <header class="head">
      <a class="back" href={href([])} aria-label="All runs">‹</a>
      <h1>
        {run.name || "…"} <span class="id">{run.key.slice(0, 8)}</span>
      </h1>
      <span class={`badge ${shown}`}>{SIGN[shown]} {run.state} {duration((run.ended ?? Math.max(now, run.started)) - run.started)}{running ? "…" : ""}</span>
      {run.thread !== undefined && <a href={href([], { q: `thread:${JSON.stringify(run.thread)}` })}>thread {run.thread}</a>}
      <span>{run.service}</span>
      <span>{clock(run.started)}</span>
      {run.tokens > 0 && <span>{count(run.tokens)} tokens</span>}
      {run.errors > 0 && <span class="bad">{count(run.errors)} errors</span>}
      {run.dropped !== undefined && <span class="bad" title="Parts that receivers of this run had lost at its end">{count(run.dropped)} dropped</span>}
      {run.answered && <a href={href(["run", run.answered])}>answered in {run.answered.slice(0, 8)}</a>}
      {run.resumes && <a href={href(["run", run.resumes])}>resumes {run.resumes.slice(0, 8)}</a>}
      {silent && <span class="bad" title="It may have been killed, or its telemetry does not arrive">silent for {duration(now - run.seen)}</span>}
      {model.more && <span class="bad">only the first log events are shown</span>}
      <span class="grow" />
      <button onClick={() => void navigator.clipboard.writeText(run.trace).then(() => (setCopied(true), setTimeout(() => setCopied(false), 1500)))} title={run.trace}>{copied ? "copied" : "copy trace id"}</button>
      {backend && /^https?:/.test(backend) && <a class="button" href={backend} target="_blank" rel="noreferrer">open in {new URL(backend).host}</a>}
    </header>
  );
}
