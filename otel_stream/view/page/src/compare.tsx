/** Two runs side by side, aligned by node and visit, so that one more step shifts nothing. */
import { useEffect, useState } from "preact/hooks";
import { ask, run as at } from "./api.ts";
import { align, firstDifference, visits, type Pair } from "./align.ts";
import { Model } from "./model.ts";
import { go, href } from "./route.ts";
import type { Frame, Outline, StateIndex } from "./types.ts";
import { clock, count, duration, look, SIGN, size } from "./words.ts";

interface Side {
  model: Model;
  outline: Outline | null;
  input: Outline | null;
}

async function side(key: string): Promise<Side> {
  const frame = await ask<Frame>(at(key));
  const model = new Model(frame.run);
  model.add(frame);
  const index = await ask<StateIndex>(`${at(key)}/states`).catch(() => null);
  const states = index?.states.filter((state) => state.ns.length === 0) ?? [];
  const get = (seq: number | undefined): Promise<Outline | null> => (seq === undefined ? Promise.resolve(null) : ask<Outline>(`${at(key)}/states/${seq}`).catch(() => null));
  const [outline, input] = await Promise.all([get(states.at(-1)?.seq), get(states[0]?.seq)]);
  return { model, outline, input };
}

export function ComparePage({ a, b }: { a: string; b: string }) {
  const [sides, setSides] = useState<[Side, Side] | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    setSides(null);
    Promise.all([side(a), side(b)]).then(setSides, (error: Error) => setTrouble(error.message));
  }, [a, b]);
  if (trouble) return <main><p class="warn">{trouble}</p></main>;
  if (!sides) return <main aria-busy="true"><p class="hint">…</p></main>;
  const pairs = align(visits(sides[0].model), visits(sides[1].model));
  const first = firstDifference(pairs);
  return (
    <main class="compare">
      <header class="head">
        <a class="back" href={href([])} aria-label="All runs">‹</a>
        <h1>Compare</h1>
        <button onClick={() => go(["compare", b, a])}>swap</button>
        <span class="grow" />
        <span class={first === null ? "" : "bad"}>{first === null ? "the same path" : `first difference: ${first}`}</span>
      </header>
      <div class="sides">
        {sides.map((one, n) => <Card key={n} name={n ? "B" : "A"} side={one} other={sides[1 - n]!} />)}
      </div>
      <h2>Path</h2>
      <div class="scroll" tabIndex={0} role="group" aria-label="Steps of both">
        <table class="paths">
          <thead><tr><th>node</th><th class="number">visit</th><th class="number">A took</th><th class="number">B took</th><th class="number">difference</th><th>steps</th></tr></thead>
          <tbody>{pairs.slice(0, 500).map((pair) => <PairRow key={`${pair.node} ${pair.visit}`} pair={pair} />)}</tbody>
        </table>
      </div>
      {pairs.length > 500 && <p class="hint">… and {count(pairs.length - 500)} more</p>}
      <h2>Input</h2>
      <States a={sides[0].input} b={sides[1].input} />
      <h2>State at the end</h2>
      <States a={sides[0].outline} b={sides[1].outline} />
    </main>
  );
}

function Card({ name, side, other }: { name: string; side: Side; other: Side }) {
  const run = side.model.run;
  const took = (run.ended ?? run.seen) - run.started;
  const theirs = (other.model.run.ended ?? other.model.run.seen) - other.model.run.started;
  const shown = look(run.state);
  return (
    <section class="card">
      <h2>{name} <a href={href(["run", run.key])}>{run.name} {run.key.slice(0, 8)}</a></h2>
      <p class="line"><span class={`badge ${shown}`}>{SIGN[shown]} {run.state}</span> {clock(run.started)}{run.thread === undefined ? "" : ` · thread ${run.thread}`}</p>
      <p class="line">{duration(took)} <span class="kind">{theirs > 0 ? `${(took / theirs).toFixed(2)} × the other` : ""}</span> · {run.steps} steps · {count(run.spans)} spans · {count(run.tokens)} tokens · {count(run.errors)} errors</p>
    </section>
  );
}

function PairRow({ pair }: { pair: Pair }) {
  const { a, b } = pair;
  const change = a && b ? b.took - a.took : null;
  const much = change !== null && Math.abs(change) > Math.max(20, 0.3 * Math.max(a!.took, b!.took));
  return (
    <tr class={!a || !b ? "alone" : ""}>
      <th scope="row">{pair.node.join(" / ")}</th>
      <td class="number" data-label="visit">{pair.visit}</td>
      <td class="number" data-label="A">{a ? <><span class={`sign ${a.look}`}>{SIGN[a.look]}</span> {duration(a.took)}{a.times > 1 ? <span class="kind"> ×{a.times}</span> : null}</> : "–"}</td>
      <td class="number" data-label="B">{b ? <><span class={`sign ${b.look}`}>{SIGN[b.look]}</span> {duration(b.took)}{b.times > 1 ? <span class="kind"> ×{b.times}</span> : null}</> : "–"}</td>
      <td class={`number${much && change > 0 ? " bad" : ""}`} data-label="difference">{change === null ? (a ? "only A" : "only B") : `${change > 0 ? "▲" : "▼"} ${duration(Math.abs(change))}`}</td>
      <td data-label="steps">{a?.step ?? "–"} → {b?.step ?? "–"}</td>
    </tr>
  );
}

function States({ a, b }: { a: Outline | null; b: Outline | null }) {
  if (!a && !b) return <p class="hint">No state was exported.</p>;
  const names = [...new Set([...(a?.keys ?? []), ...(b?.keys ?? [])].filter((one) => one.how !== "-").map((one) => String(one.key)))];
  if (names.length === 0) return <p class="hint">What the states hold was not exported.</p>;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="States of both">
      <table class="paths">
        <thead><tr><th>key</th><th><span class="away">the same or not</span></th><th>A</th><th>B</th></tr></thead>
        <tbody>
          {names.map((name) => {
            const [left, right] = [a, b].map((one) => one?.keys.find((key) => key.key === name && key.how !== "-"));
            const said = (one: typeof left): string => (one ? (one.json ?? `${one.kind} ${one.size ?? ""} ${size(one.bytes)} ${one.preview ?? ""}…`) : "–");
            const same = left && right && (left.json ?? left.preview) === (right.json ?? right.preview) && left.bytes === right.bytes;
            return (
              <tr key={name} class={same ? "" : "differs"}>
                <th scope="row">{name}</th>
                <td>{same ? "=" : "~"}</td>
                <td class="value" data-label={same ? "both" : "A"}>{said(left).slice(0, 400)}</td>
                <td class="value" data-label="B">{same ? "" : said(right).slice(0, 400)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
