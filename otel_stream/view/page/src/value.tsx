/** A value of a state: its outline first, what is long only when it is asked for. Text is never markup. */
import { useState } from "preact/hooks";
import { again, ask, run } from "./api.ts";
import type { Item, Told, Value } from "./types.ts";
import { size } from "./words.ts";

/** Items of a short value that are shown without being asked for. */
const AT_ONCE = 30;

/** Characters of a text that are shown without being asked for: laying out megabytes takes a browser seconds. */
const LONG = 4_000;

/** A long text: its beginning, and more of it each time one asks. */
export function Long({ text }: { text: string }) {
  const [shown, setShown] = useState(LONG);
  return (
    <span class="json string">
      {text.slice(0, shown)}
      {text.length > shown && <button class="fold" onClick={() => setShown(shown * 4)}>… more of {size(text.length)}</button>}
    </span>
  );
}

export function Json({ value, depth = 0 }: { value: unknown; depth?: number }) {
  const [open, setOpen] = useState(depth < 1);
  if (typeof value === "string" && value.length > LONG) return <Long text={value} />;
  if (value === null || typeof value !== "object") {
    return <span class={`json ${value === null ? "null" : typeof value}`}>{typeof value === "string" ? (depth === 0 ? value : JSON.stringify(value)) : String(value)}</span>;
  }
  const entries = Object.entries(value);
  const list = Array.isArray(value);
  if (entries.length === 0) return <span class="json">{list ? "[]" : "{}"}</span>;
  const text = JSON.stringify(value);
  if (text.length <= 72) return <span class="json">{text}</span>;
  if (!open) {
    return (
      <button class="fold" onClick={() => setOpen(true)}>
        ▸ {list ? `[${entries.length}]` : `{${entries.length}}`} <span class="preview">{text.slice(0, 64)}…</span>
      </button>
    );
  }
  return (
    <span class="json tree">
      <button class="fold" onClick={() => setOpen(false)} aria-label="fold">▾ {list ? `[${entries.length}]` : `{${entries.length}}`}</button>
      {entries.slice(0, AT_ONCE).map(([key, one]) => (
        <span class="pair" key={key}>
          <span class="key">{key}</span> <Json value={one} depth={depth + 1} />
        </span>
      ))}
      {entries.length > AT_ONCE && <span class="pair more">… {entries.length - AT_ONCE} more</span>}
    </span>
  );
}

export function parsed(text: string): unknown {
  try {
    return again(text);
  } catch {
    return text;
  }
}

interface Props {
  about: Told;
  where: { key: string; seq: number; path: (string | number)[] };
}

/** A value, or what it is and how large, with a button that gets it. */
export function ValueOf({ about, where }: Props) {
  const [value, setValue] = useState<Value | null>(null);
  if (about.json !== undefined) return <Json value={parsed(about.json)} />;

  async function load(start = 0): Promise<void> {
    const query = new URLSearchParams({ path: JSON.stringify(where.path), start: String(start) });
    const found = await ask<Value>(`${run(where.key)}/states/${where.seq}/value?${query}`);
    setValue((before) => (start && before?.items && found.items ? { ...found, items: [...before.items, ...found.items] } : found));
  }
  if (!value) {
    return (
      <button class="fold" onClick={() => void load()}>
        ▸ {kind(about)} {size(about.bytes)} <span class="preview">{about.preview?.slice(0, 64)}…</span>
      </button>
    );
  }
  if (value.text !== undefined) return <pre class="text">{value.text}</pre>;
  return (
    <span class="json tree">
      <button class="fold" onClick={() => setValue(null)}>▾ {kind(about)} {size(about.bytes)}</button>
      {value.items?.map((item: Item) => (
        <span class="pair" key={item.key}>
          <span class="key">{item.key}</span> <ValueOf about={item} where={{ ...where, path: [...where.path, item.key] }} />
        </span>
      ))}
      {value.more ? <button class="fold" onClick={() => void load(value.items?.length ?? 0)}>… {value.more} more</button> : null}
      {value.json !== undefined && <Json value={parsed(value.json)} />}
    </span>
  );
}

export function kind(about: Told): string {
  if (about.kind === "list") return `[${about.size ?? ""}]`;
  if (about.kind === "mapping") return `{${about.size ?? ""}}`;
  return about.kind;
}
