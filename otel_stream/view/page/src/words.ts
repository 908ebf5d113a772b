/** How numbers, times and states are said. */

export function duration(ms: number): string {
  if (ms < 0) return "0 ms";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} m`;
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

export function clock(ms: number): string {
  const date = new Date(ms);
  const time = date.toTimeString().slice(0, 8);
  return date.toDateString() === new Date().toDateString() ? time : `${date.toISOString().slice(5, 10)} ${time}`;
}

export const count = (n: number): string => n.toLocaleString("en").replaceAll(",", "\u202f");

const FAILED = new Set(["error", "timeout", "recursion_limit"]);

export const failed = (state: string | undefined): boolean => FAILED.has(state ?? "");

/** One of the few kinds of states that have a colour and a sign of their own. */
export type Look = "run" | "ok" | "fail" | "wait" | "stop" | "idle";

export function look(state: string | undefined): Look {
  if (state === "running") return "run";
  if (state === "ok") return "ok";
  if (failed(state)) return "fail";
  if (state === "interrupted") return "wait";
  return state ? "stop" : "idle";
}

export const SIGN: Record<Look, string> = { run: "●", ok: "✔", fail: "✖", wait: "◐", stop: "■", idle: "○" };
export const NAME: Record<Look, string> = {
  run: "running",
  ok: "ok",
  fail: "failed",
  wait: "waiting",
  stop: "stopped",
  idle: "not yet",
};
