/** What is beside the graph: state, stream, messages, receivers, logs, and the span that is chosen. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ask, download, run as at, text } from "./api.ts";
import { kindOf, label, type Model } from "./model.ts";
import type { Key, LogRow, Message, Outline, Part, Point, Span, StateIndex } from "./types.ts";
import { Json, Long, ValueOf, kind, parsed } from "./value.tsx";
import { clock, count, duration, SIGN, size } from "./words.ts";

/** Ask again when `version` changes, but not more often than every half second. */
export function useAsked<T>(path: string | null, version: number): T | null {
  const [answer, setAnswer] = useState<{ path: string; value: T } | null>(null);
  const last = useRef(0);
  useEffect(() => {
    if (path === null) return;
    const abort = new AbortController();
    const timer = setTimeout(
      () => {
        last.current = performance.now();
        ask<T>(path, abort.signal).then(
          (value) => setAnswer({ path, value }),
          () => undefined,
        );
      },
      Math.max(0, last.current + 500 - performance.now()),
    );
    return () => {
      clearTimeout(timer);
      if (performance.now() - last.current > 5000) abort.abort();
    };
  }, [path, version]);
  return answer?.value ?? null;
}

const NO_CONTENT =
  "What the state holds was not exported. Set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true, or start the program with otel-stream view -- python app.py";

// -- state -----------------------------------------------------------------------------------------

export function StatePane({ model, step }: { model: Model; version: number; step: number | null }) {
  const key = model.run.key;
  const [all, setAll] = useState(false);
  const known = model.events.reduce((n, event) => n + (event.name === "graph.values" ? 1 : 0), 0);
  const index = useAsked<StateIndex>(known ? `${at(key)}/states` : null, known);
  const states = index?.states.filter((one) => one.ns.length === 0) ?? [];
  const shown = step === null ? states.at(-1) : (states.filter((one) => (one.step ?? 0) <= step).at(-1) ?? states[0]);
  const outline = useAsked<Outline>(shown ? `${at(key)}/states/${shown.seq}` : null, 0);
  if (!known) return <p class="hint">No state was told yet.</p>;
  if (!shown || !outline) return <p class="hint">…</p>;
  const changed = outline.keys.filter((one) => one.how !== "=");
  const same = outline.keys.filter((one) => one.how === "=");
  return (
    <>
      <p class="line">
        <strong>after step {shown.step ?? "?"}</strong> · {changed.length} of {outline.keys.length} keys changed
        <button class="small" onClick={() => void download(`${at(key)}/states/${shown.seq}/json`, `state-${shown.step}.json`)}>download ↓</button>
      </p>
      {!outline.trusted && <p class="warn">{shown.why === "its content was not exported" ? NO_CONTENT : `Not certain: ${outline.why}`}</p>}
      {index && index.holes.length > 0 && <p class="warn">{index.holes.length} holes: {index.holes[0]}</p>}
      {outline.whole && <ValueOf about={outline.whole} where={{ key, seq: shown.seq, path: [] }} />}
      <dl class="state">
        {changed.slice(0, 40).map((one) => <StateKey key={one.key} one={one} where={{ key, seq: shown.seq }} />)}
        {changed.length > 40 && <p class="hint">… and {changed.length - 40} more changed</p>}
      </dl>
      {same.length > 0 && (
        <button class="small" onClick={() => setAll(!all)} aria-expanded={all}>{all ? "hide" : "show"} {same.length} unchanged</button>
      )}
      {all && <dl class="state">{same.map((one) => <StateKey key={one.key} one={one} where={{ key, seq: shown.seq }} />)}</dl>}
    </>
  );
}

function StateKey({ one, where }: { one: Key; where: { key: string; seq: number } }) {
  const path = [one.key];
  return (
    <div class={`key how-${{ "+": "new", "-": "gone", "~": "changed", "=": "same" }[one.how]}`}>
      <dt>
        <span class="how">{one.how}</span> {one.key} <span class="kind">{kind(one)} {one.bytes > 200 ? size(one.bytes) : ""}</span>
      </dt>
      <dd>
        {one.added && (
          <>
            {one.added.map((added, n) => (
              <div class="added" key={n}>
                <span class="how">+</span> {added.key !== undefined ? <span class="kind">{added.key}</span> : null}{" "}
                <ValueOf about={added} where={{ ...where, path: added.key !== undefined ? [...path, added.key] : path }} />
              </div>
            ))}
          </>
        )}
        {one.before && one.before.json !== undefined && one.before.bytes < 200 && <del>{one.before.json}</del>} {!one.added && one.how !== "-" && <ValueOf about={one} where={{ ...where, path }} />}
      </dd>
    </div>
  );
}

// -- stream ----------------------------------------------------------------------------------------

export function StreamPane({ model, step, node, span, choose }: { model: Model; version: number; step: number | null; node: string; span: string; choose: (id: string) => void }) {
  const modes = useMemo(() => {
    const found = new Map<string, number>();
    for (const event of model.events) if (event.name) found.set(event.name.replace(/^graph\./, ""), (found.get(event.name.replace(/^graph\./, "")) ?? 0) + 1);
    return found;
  }, [model.version]);
  const [mode, setMode] = useState("");
  const [from, setFrom] = useState<number | null>(null);
  const events = model.events.filter((one) => (!mode || one.name === `graph.${mode}`) && (step === null || one.step === step) && (!node || one.node === node));
  const last = events.at(-1)?.n ?? 0;
  const start = from ?? Math.max(-1, (events.at(-120)?.n ?? 0) - 1);
  const answer = useAsked<{ parts: Part[]; more: boolean }>(`${at(model.run.key)}/parts?after=${start}&limit=1000${mode ? `&modes=${encodeURIComponent(mode)}` : ""}`, last);
  const wanted = new Set(events.map((one) => one.n));
  const parts = (answer?.parts ?? []).filter((one) => wanted.has(one.n)).slice(0, 400);
  return (
    <>
      <div class="pills" role="group" aria-label="Modes">
        <button aria-pressed={!mode} onClick={() => setMode("")}>all {count(model.events.length)}</button>
        {[...modes].map(([name, n]) => (
          <button key={name} aria-pressed={mode === name} onClick={() => setMode(mode === name ? "" : name)}>{name} {count(n)}</button>
        ))}
      </div>
      {start > 0 && <button class="small" onClick={() => setFrom(-1)}>from the beginning</button>}
      {from !== null && <button class="small" onClick={() => setFrom(null)}>newest</button>}
      <ol class="parts">
        {parts.map((part) => (
          <PartRow key={part.n} part={part} run={model.run.key} start={model.run.started} marked={part.span === span} choose={choose} />
        ))}
      </ol>
      {parts.length === 0 && <p class="hint">Nothing of this kind {step === null ? "" : `in step ${step} `}yet.</p>}
    </>
  );
}

function PartRow({ part, run, start, marked, choose }: { part: Part; run: string; start: number; marked: boolean; choose: (id: string) => void }) {
  const [whole, setWhole] = useState<string | null>(null);
  const [open, setOpen] = useState(false);
  const mode = part.name.replace(/^graph\./, "");
  async function get(): Promise<void> {
    setOpen(!open);
    if (whole === null && part.size > part.body.length) setWhole(await text(`${at(run)}/parts/${part.n}`));
  }
  return (
    <li class={marked ? "marked" : ""}>
      <button class="head" onClick={() => void get()} aria-expanded={open}>
        <span class="when">+{duration(part.time - start)}</span> <span class={`mode m-${mode}`}>{mode}</span> <span class="node">{part.node ?? ""}</span>
        <span class="body">{part.form ? <em>[{part.form}] </em> : null}{part.encoding === "delta" ? <em>[what changed] </em> : null}{part.joined ? <em>[{part.joined} chunks] </em> : null}{part.body.slice(0, 160)}</span>
      </button>
      {open && (
        <div class="whole">
          <button class="small" onClick={() => choose(part.span)}>its span</button> step {part.step ?? "–"} · seq {part.seq ?? "–"} · {size(part.size)}
          <div><Json value={parsed(whole ?? part.body)} /></div>
        </div>
      )}
    </li>
  );
}

// -- messages --------------------------------------------------------------------------------------

/** Characters of what is being said that are shown while it is. */
const NEWEST = 4000;

export function MessagesPane({ model }: { model: Model; version: number }) {
  const known = model.events.reduce((n, event) => n + (event.name === "graph.messages" || event.name === "graph.values" ? 1 : 0), 0);
  const found = useAsked<{ from: string; messages: Message[] }>(known ? `${at(model.run.key)}/messages` : null, known);
  const end = useRef<HTMLDivElement>(null);
  const live = model.run.state === "running";
  useEffect(() => {
    if (live) end.current?.scrollIntoView({ block: "nearest" });
  }, [found]);
  if (!found || found.messages.length === 0) return <p class="hint">No messages {live ? "yet" : "in this run, or their content was not exported"}.</p>;
  return (
    <div class="messages" aria-live={live ? "polite" : "off"}>
      {found.messages.map((message, n) => (
        <article key={message.id ?? n} class={`message ${message.role}`}>
          <header>{message.role}{message.name ? ` · ${message.name}` : ""}{message.node ? <span class="kind"> {message.node}{message.step !== undefined && message.step !== null ? `, step ${message.step}` : ""}</span> : null}</header>
          <pre class="text">{live && n === found.messages.length - 1 ? <>{message.text.slice(-NEWEST)}<span class="caret">▌</span></> : <Long text={message.text} />}</pre>
          {message.size !== undefined && <p class="hint">{count(message.size - message.text.length)} more characters: they are in the stream.</p>}
          {message.calls.map((call, i) => (
            <div class="call" key={i}><span class="how">→</span> {call.name} <Json value={typeof call.args === "string" ? parsed(call.args) : call.args} depth={1} /></div>
          ))}
        </article>
      ))}
      <div ref={end} />
    </div>
  );
}

// -- receivers -------------------------------------------------------------------------------------

export function AccountPane({ model }: { model: Model; version: number }) {
  const found = useAsked<{ points: Point[] }>(`${at(model.run.key)}/account`, Math.floor(model.version / 5));
  const modes = new Map<string, Record<string, number>>();
  const drops = new Map<string, number>();
  const other: Point[] = [];
  for (const point of found?.points ?? []) {
    const what = /^graph\.stream\.parts\.(\w+)$/.exec(point.name)?.[1];
    if (!what) {
      other.push(point);
      continue;
    }
    const mode = `${point.attributes["graph.stream.mode"] ?? "?"} · ${point.attributes["graph.stream.policy"] ?? "?"}`;
    const row = modes.get(mode) ?? {};
    row[what] = (row[what] ?? 0) + point.value;
    modes.set(mode, row);
    const why = point.attributes["graph.stream.drop_reason"];
    if (what === "dropped" && why && point.value) drops.set(why, (drops.get(why) ?? 0) + point.value);
  }
  if (modes.size === 0) return <p class="hint">No receivers' sums came from {model.run.service || "this service"} yet; they are metrics, and come every {"OTEL_METRIC_EXPORT_INTERVAL"}.</p>;
  const columns = ["offered", "delivered", "dropped", "filtered", "sampled_out"];
  return (
    <>
      <p class="line">Receivers of all runs of <strong>{model.run.name}</strong> in the newest process of {model.run.service}</p>
      <div class="scroll" tabIndex={0} role="group" aria-label="Sums of receivers">
        <table>
          <thead><tr><th>mode · policy</th>{columns.map((name) => <th key={name} class="number">{name.replace("_", " ")}</th>)}</tr></thead>
          <tbody>
            {[...modes].map(([mode, row]) => (
              <tr key={mode}>
                <th scope="row">{mode}</th>
                {columns.map((name) => <td key={name} class={`number${name === "dropped" && row[name] ? " bad" : ""}`}>{count(row[name] ?? 0)}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {drops.size > 0 && <p class="warn">Dropped: {[...drops].map(([why, n]) => `${count(n)} ${why}`).join(", ")}</p>}
      <dl class="plain">
        {other.filter((point) => point.value || point.name.includes("lost")).map((point, n) => (
          <div key={n}><dt>{point.name} <span class="kind">{point.attributes["otel_stream.signal"] ?? point.attributes["graph.stream.policy"] ?? ""}</span></dt><dd class={point.name.includes("lost") && point.value ? "bad" : ""}>{count(point.value)}</dd></div>
        ))}
      </dl>
    </>
  );
}

// -- logs ------------------------------------------------------------------------------------------

const LEVELS: [number, string][] = [[17, "error"], [13, "warn"], [9, "info"], [0, "debug"]];

export function LogsPane({ model, choose }: { model: Model; version: number; choose: (id: string) => void }) {
  const found = useAsked<{ logs: LogRow[] }>(`${at(model.run.key)}/logs`, Math.floor(model.version / 3));
  if (!found || found.logs.length === 0) return <p class="hint">No log records came with this trace. configure(logging=True) exports Python's logging, too.</p>;
  return (
    <ol class="parts">
      {found.logs.map((log) => {
        const level = LEVELS.find(([least]) => log.severity >= least)![1];
        return (
          <li key={`${log.n} ${log.time}`} class={`log ${level}`}>
            <button class="head" onClick={() => choose(log.span)}>
              <span class="when">+{duration(log.time - model.run.started)}</span> <span class={`mode ${level}`}>{level}</span> <span class="node">{log.name || String(log.attributes["logger.name"] ?? "")}</span>
              <span class="body">{log.body || String(log.attributes["exception.type"] ?? "")}</span>
            </button>
          </li>
        );
      })}
    </ol>
  );
}

// -- a span ----------------------------------------------------------------------------------------

interface WholeSpan extends Span {
  about: {
    attributes: Record<string, unknown>;
    message?: string;
    events?: { time: number; name: string; attributes: Record<string, unknown> }[];
    links?: { trace: string; span: string; attributes: Record<string, unknown> }[];
  };
  logs: LogRow[];
}

export function SpanPane({ model, id, choose }: { model: Model; version: number; id: string; choose: (id: string) => void }) {
  const span = model.spans.get(id);
  const whole = useAsked<WholeSpan>(id ? `${at(model.run.key)}/spans/${encodeURIComponent(id)}` : null, span?.end_time ?? 0);
  if (!id) return <p class="hint">Choose a row or a node to see all of its span. Keys: j and k go through the rows.</p>;
  if (!span || !whole || whole.id !== id) return <p class="hint">…</p>;
  const shown = model.lookOf(span);
  const path = model.path(id);
  return (
    <>
      <h3><span class={`sign ${shown}`}>{SIGN[shown]}</span> {label(span)}</h3>
      <p class="line">
        {kindOf(span)} · {span.end_time === null ? "not ended" : duration(span.end_time - span.start)} · from {clock(span.start)}, +{duration(span.start - model.run.started)} · {path.join(" / ")}
      </p>
      {whole.about.message && <p class="warn"><Long text={whole.about.message} /></p>}
      <p class="line ids">
        span <code>{id}</code> {span.parent && <button class="small" onClick={() => choose(span.parent)}>parent</button>}
        {(whole.about.links ?? []).map((link, n) => (
          <button key={n} class="small" disabled={!model.spans.has(link.span)} title={link.span} onClick={() => choose(link.span)}>
            {String(link.attributes["graph.link.kind"] ?? "link")}: {model.spans.has(link.span) ? label(model.spans.get(link.span)!) : link.span.slice(0, 8)}
          </button>
        ))}
      </p>
      <dl class="plain">
        {Object.entries(whole.about.attributes).map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd><Json value={value} depth={typeof value === "string" ? 0 : 1} /></dd></div>
        ))}
        <div><dt>service · scope</dt><dd>{span.service} · {span.scope}</dd></div>
      </dl>
      {(whole.about.events ?? []).map((event, n) => (
        <details key={n} open={event.name === "exception"}>
          <summary>{event.name} +{duration(event.time / 1e6 - span.start)}</summary>
          <dl class="plain">{Object.entries(event.attributes).map(([name, value]) => <div key={name}><dt>{name}</dt><dd><pre class="text"><Long text={String(value)} /></pre></dd></div>)}</dl>
        </details>
      ))}
      {whole.logs.length > 0 && (
        <details open>
          <summary>{whole.logs.length} log events on it</summary>
          <ol class="parts">
            {whole.logs.map((log) => (
              <li key={`${log.n} ${log.time}`}><div class="head"><span class="when">+{duration(log.time - span.start)}</span> <span class="mode">{log.name.replace(/^graph\./, "")}</span> <span class="body">{log.body.slice(0, 300)}</span></div></li>
            ))}
          </ol>
        </details>
      )}
    </>
  );
}
