/** Where one is: `#/run/KEY?step=5&span=…`. Everything that is chosen stands there, so a link shows the same. */
import { computed, signal } from "@preact/signals";

const hash = signal(location.hash);
addEventListener("hashchange", () => (hash.value = location.hash));

export interface Route {
  path: string[];
  query: URLSearchParams;
}

export const route = computed<Route>(() => {
  const [path = "", query = ""] = hash.value.replace(/^#\/?/, "").split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
});

/** Addresses are typed and sent by people: what is no escape is what it says. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function href(path: string[], query: Record<string, string> = {}): string {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${said ? `?${said}` : ""}`;
}

export function go(path: string[], query: Record<string, string> = {}): void {
  location.hash = href(path, query);
}

/** Change what is chosen here, without a new entry in the history. */
export function choose(changes: Record<string, string | null>): void {
  const query = new URLSearchParams(route.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  history.replaceState(null, "", href(route.value.path, Object.fromEntries(query)));
  hash.value = location.hash;
}

export const chosen = (name: string): string => route.value.query.get(name) ?? "";
