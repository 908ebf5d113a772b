/** Questions to the server, with the token, which came behind the # and so reached no server and no log. */
import { signal } from "@preact/signals";

const KEY = "otel-stream.token";

/** Why nothing can be asked, if so. */
export const trouble = signal("");

/** Take the token from the address, once, and leave no trace of it there. */
export function takeToken(): void {
  const found = /^#t=([^&]+)(?:&(.*))?$/.exec(location.hash);
  if (found?.[1]) {
    localStorage.setItem(KEY, decodeURIComponent(found[1]));
    history.replaceState(null, "", `#${found[2] ?? "/"}`);
  }
}

function headers(): HeadersInit {
  return { Authorization: `Bearer ${localStorage.getItem(KEY) ?? ""}` };
}

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

async function answered(path: string, abort?: AbortSignal): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(`api/${path}`, { headers: headers(), signal: abort ?? null });
  } catch (error) {
    if (!abort?.aborted) trouble.value = "The viewer does not answer: was it stopped? This page goes on when it is back.";
    throw error;
  }
  if (answer.status === 401) trouble.value = "Open the page by the link that the program printed: it has the token.";
  else if (trouble.value) trouble.value = "";
  if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim());
  return answer;
}

export async function ask<T>(path: string, abort?: AbortSignal): Promise<T> {
  return read<T>(await (await answered(path, abort)).text());
}

/** Read JSON; what would turn text around is shown as what it is. */
export function read<T>(json: string): T {
  return JSON.parse(json.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\\\u${sign.charCodeAt(0).toString(16)}`)) as T;
}

export async function text(path: string): Promise<string> {
  return (await answered(path)).text();
}

/** Read JSON that stood in JSON which was read: what was made visible stays so. */
export function again<T>(json: string): T {
  return JSON.parse(json.replace(/\\u(?=200[ef]|202[a-e]|206[6-9])/gi, "\\\\u")) as T;
}

/** Keep what `path` answers as a file. */
export async function download(path: string, name: string): Promise<void> {
  const url = URL.createObjectURL(await (await answered(path)).blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export const run = (key: string): string => `runs/${encodeURIComponent(key)}`;

/** Server-sent events, put together from pieces of text. */
export function* events(buffer: { text: string }, piece: string): Generator<{ name: string; data: string }> {
  buffer.text += piece;
  for (;;) {
    const end = buffer.text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const block = buffer.text.slice(0, end);
    buffer.text = buffer.text.slice(end + 4);
    let name = "";
    let data = "";
    for (const line of block.split("\r\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (name) yield { name, data };
  }
}

/**
 * Call `told` with news from version `after` on until the returned function is called.
 *
 * One stream a visible page: browsers open six connections to a host, so a hidden page closes its own. After a
 * cut it goes on from the version it knows; the server tells nothing twice.
 */
export function live<T extends { version: number }>(
  parameters: Record<string, string>,
  after: number,
  told: (news: T) => void,
  gone: (why: string) => void = () => undefined,
): () => void {
  let abort: AbortController | null = null;
  let ended = false;
  let version = after;

  async function listen(): Promise<void> {
    while (!ended && !document.hidden) {
      abort = new AbortController();
      try {
        const query = new URLSearchParams({ ...parameters, after: String(version) });
        const answer = await answered(`live?${query}`, abort.signal);
        const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
        const buffer = { text: "" };
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          for (const event of events(buffer, value)) {
            if (event.name === "gone") {
              ended = true;
              gone(read<{ why: string }>(event.data).why);
            } else if (event.name === "news" && event.data !== "{}") {
              const news = read<T>(event.data);
              version = news.version;
              told(news);
            }
          }
        }
      } catch {
        // Said by `answered`; tried again below.
      }
      if (!ended && !document.hidden) await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  function seen(): void {
    abort?.abort();
    if (!document.hidden) void listen();
  }
  document.addEventListener("visibilitychange", seen);
  void listen();
  return () => {
    ended = true;
    document.removeEventListener("visibilitychange", seen);
    abort?.abort();
  };
}
