/** All runs, the newest first, live. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { again, ask, live } from "./api.ts";
import { choose, chosen, go, href } from "./route.ts";
import type { About, Run } from "./types.ts";
import { clock, count, duration, failed, look, SIGN, size } from "./words.ts";

const PAGE = 100;

export function ListPage({ about }: { about: About | null }) {
  const query = chosen("q");
  const bad = chosen("failed") === "1";
  const [runs, setRuns] = useState<Map<string, Run>>(new Map());
  const [fresh, setFresh] = useState<Map<string, Run>>(new Map());
  const [more, setMore] = useState(false);
  const [trouble, setTrouble] = useState("");
  const [picked, setPicked] = useState<string[]>([]);
  const [now, setNow] = useState(Date.now());
  const [cursor, setCursor] = useState(-1);
  const find = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);

  async function load(before?: number): Promise<void> {
    const asked = new URLSearchParams({ q: query, limit: String(PAGE) });
    if (before !== undefined) asked.set("before", String(before));
    if (bad) asked.set("failed", "1");
    try {
      const found = (await ask<{ runs: Run[] }>(`runs?${asked}`)).runs;
      setTrouble("");
      setMore(found.length === PAGE);
      setRuns((known) => new Map([...(before === undefined ? [] : known), ...found.map((run) => [run.key, run] as const)]));
      if (before === undefined) setFresh(new Map());
    } catch (error) {
      setTrouble(error instanceof Error ? error.message : String(error));
    }
  }

  useEffect(() => {
    const timer = setTimeout(() => void load(), query ? 150 : 0);
    return () => clearTimeout(timer);
  }, [query, bad]);

  const known = useRef(runs);
  known.current = runs;
  useEffect(() => {
    // With a search, what is new may fit or not: that is asked again, rather than guessed here.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = live<{ version: number; runs: Run[] }>({}, 0, (news) => {
      const old = news.runs.filter((run) => known.current.has(run.key));
      const others = news.runs.filter((run) => !known.current.has(run.key));
      if (old.length > 0) setRuns((before) => new Map([...before, ...old.map((run) => [run.key, run] as const)]));
      if (others.length === 0) return;
      if (query || bad) {
        timer ??= setTimeout(() => ((timer = undefined), void load()), 1000);
      } else if (document.scrollingElement && document.scrollingElement.scrollTop > 80) {
        setFresh((before) => new Map([...before, ...others.map((run) => [run.key, run] as const)]));
      } else setRuns((before) => new Map([...others.map((run) => [run.key, run] as const), ...before]));
    });
    return () => (stop(), clearTimeout(timer));
  }, [query, bad]);

  const rows = useMemo(() => {
    const found = [...runs.values()];
    return found.sort((a, b) => (bad ? Number(failed(b.state)) - Number(failed(a.state)) : 0) || b.started - a.started);
  }, [runs, bad]);

  const keys = useRef<(event: KeyboardEvent) => void>(() => undefined);
  keys.current = (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.tagName === "INPUT" && event.key !== "Escape") return;
    const acts: Record<string, () => void> = {
      "/": () => find.current?.focus(),
      Escape: () => (target.blur(), choose({ q: null })),
      j: () => setCursor(Math.min(rows.length - 1, cursor + 1)),
      k: () => setCursor(Math.max(0, cursor - 1)),
      Enter: () => rows[cursor] && target === document.body && go(["run", rows[cursor].key]),
      x: () => rows[cursor] && pick(rows[cursor].key),
    };
    const act = acts[event.key];
    if (act && !(event.key === "Enter" && target !== document.body)) {
      event.preventDefault();
      act();
    }
  };
  useEffect(() => {
    const heard = (event: KeyboardEvent): void => keys.current(event);
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, []);

  function pick(key: string): void {
    setPicked((before) => (before.includes(key) ? before.filter((one) => one !== key) : [...before, key].slice(-2)));
  }

  const nothing = rows.length === 0 && !query && !bad && !trouble;
  return (
    <main class="list">
      <header class="head">
        <h1>Runs</h1>
        <input ref={find} type="search" class="find" value={query} placeholder="/ find: words · thread:t7 · graph:triage · state:failed · key=value" aria-label="Find runs" onInput={(event) => choose({ q: event.currentTarget.value })} />
        <button aria-pressed={bad} onClick={() => choose({ failed: bad ? null : "1" })}>failed first</button>
        <button aria-pressed={query === "state:running"} onClick={() => choose({ q: query === "state:running" ? null : "state:running" })}>running</button>
        <button aria-pressed={query === "state:waiting"} onClick={() => choose({ q: query === "state:waiting" ? null : "state:waiting" })}>waiting</button>
        {picked.length > 0 && <button class="chip" disabled={picked.length < 2} onClick={() => go(["compare", ...picked])}>compare {picked.length} of 2</button>}
      </header>
      {about && <Totals about={about} />}
      {trouble && <p class="warn">{trouble}</p>}
      {fresh.size > 0 && <button class="fresh" onClick={() => (setRuns(new Map([...fresh, ...runs])), setFresh(new Map()), scrollTo(0, 0))}>{fresh.size} new</button>}
      {nothing && about && <Welcome about={about} />}
      {rows.length === 0 && (query || bad) && !trouble && <p class="hint">No run has that.</p>}
      {rows.length > 0 && (
        <div class="scroll">
          <table class="runs">
            <thead>
              <tr><th>state</th><th>graph</th><th>thread</th><th>began</th><th class="number">took</th><th class="number">steps</th><th class="number">spans</th><th class="number">tokens</th><th class="number">errors</th><th class="number">drops</th><th>service</th><th><span class="away">compare</span></th></tr>
            </thead>
            <tbody>
              {rows.map((run, n) => <RunRow key={run.key} run={run} now={now} here={n === cursor} picked={picked.includes(run.key)} pick={() => pick(run.key)} />)}
            </tbody>
          </table>
        </div>
      )}
      {more && <button class="small" onClick={() => void load(Math.min(...rows.map((run) => run.started)))}>more</button>}
    </main>
  );
}

function RunRow({ run, now, here, picked, pick }: { run: Run; now: number; here: boolean; picked: boolean; pick: () => void }) {
  const shown = run.answered ? "stop" : look(run.state);
  const running = run.state === "running";
  const row = useRef<HTMLTableRowElement>(null);
  useEffect(() => {
    if (here) row.current?.scrollIntoView({ block: "nearest" });
  }, [here]);
  return (
    <tr ref={row} class={`${shown}${here ? " here" : ""}`} onClick={(event) => (event.target as HTMLElement).closest("a,input") || go(["run", run.key])}>
      <td><span class={`badge ${shown}`}>{SIGN[shown]} {run.state !== "interrupted" ? run.state : run.answered ? "answered" : "waits"}</span></td>
      <td class="name"><a href={href(["run", run.key])}>{run.name || run.key.slice(0, 8)}</a>{run.question && run.state === "interrupted" && !run.answered ? <span class="asks">{asked(run.question)}</span> : null}{run.graph ? null : <span class="kind"> trace</span>}</td>
      <td class="thread">{run.thread ?? ""}</td>
      <td class="when">{clock(run.started)}</td>
      <td class="number">{duration((run.ended ?? Math.max(run.started, running ? now : run.seen)) - run.started)}{running ? "…" : ""}</td>
      <td class="number">{run.steps || ""}</td>
      <td class="number">{count(run.spans)}</td>
      <td class="number">{run.tokens ? count(run.tokens) : ""}</td>
      <td class={`number${run.errors ? " bad" : ""}`} data-label="errors">{run.errors ? count(run.errors) : ""}</td>
      <td class={`number${run.dropped ? " bad" : ""}`} data-label="dropped" title={run.dropped ? "Parts that receivers of this run had lost at its end" : undefined}>{run.dropped ? count(run.dropped) : ""}</td>
      <td class="service">{run.service}</td>
      <td><input type="checkbox" checked={picked} aria-label={`compare ${run.name} of ${clock(run.started)}`} onChange={pick} /></td>
    </tr>
  );
}

function asked(question: string): string {
  try {
    const found = again<{ value?: unknown }[]>(question);
    return found.map((one) => (typeof one.value === "string" ? one.value : JSON.stringify(one.value))).join(" · ").slice(0, 120);
  } catch {
    return question.slice(0, 120);
  }
}

function Totals({ about }: { about: About }) {
  const states = about.states;
  const sum = (names: string[]): number => names.reduce((n, name) => n + (states[name] ?? 0), 0);
  return (
    <p class="totals">
      <Spark label="runs begun, by minute of the last hour" values={about.minutes.map((minute) => minute.runs)} bad={about.minutes.map((minute) => minute.failed)} />
      <span class="hint">runs/min</span>
      <Spark label="95th percentile of their time" values={about.minutes.map((minute) => minute.p95 ?? 0)} />
      <span class="hint">p95 {duration(Math.max(0, ...about.minutes.map((minute) => minute.p95 ?? 0)))} at most</span>
      <span class="grow" />
      <span><b class="run">{count(sum(["running"]))}</b> running</span>
      <span><b class="wait">{count(sum(["waiting"]))}</b> waiting</span>
      <span><b class="ok">{count(sum(["ok"]))}</b> ok</span>
      <span><b class="fail">{count(sum(["error", "timeout", "recursion_limit"]))}</b> failed</span>
      <span class="hint">{about.file ?? `${size(about.bytes)} of ${size(about.capacity)}`}</span>
      {about.lost > 0 && <span class="bad" title="Programs could not deliver so many spans, log events or metric points">{count(about.lost)} lost</span>}
      {about.damaged > 0 && <span class="bad">{about.damaged} lines of the file could not be read</span>}
      {about.unplaced > 0 && <span class="hint" title="Log records without a trace">{count(about.unplaced)} without a trace</span>}
    </p>
  );
}

function Spark({ values, bad = [], label }: { values: number[]; bad?: number[]; label: string }) {
  const most = Math.max(1e-9, ...values);
  return (
    <svg class="spark" viewBox="0 0 120 24" width="120" height="24" role="img" aria-label={`${label}: ${values.at(-1) ?? 0} now, ${most < 1 ? 0 : Math.round(most)} at most`}>
      {values.map((value, n) => value > 0 && <rect key={n} class={bad[n] ? "bad" : ""} x={n * 2} y={24 - Math.max(2, (value / most) * 24)} width="1.6" height={Math.max(2, (value / most) * 24)} />)}
    </svg>
  );
}

function Welcome({ about }: { about: About }) {
  return (
    <section class="welcome">
      <h2>Nothing has come yet</h2>
      <p>Send a program's telemetry here:</p>
      <pre>OTEL_EXPORTER_OTLP_ENDPOINT={about.http} python app.py</pre>
      <p>or start it so that all of it is seen, content and beginnings included:</p>
      <pre>otel-stream view -- python app.py</pre>
      {about.grpc && <p>OTLP over gRPC: <code>http://{about.grpc}</code></p>}
    </section>
  );
}
