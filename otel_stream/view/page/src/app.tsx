/** The page: which of its screens is shown, and what they share. */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ask, takeToken, trouble } from "./api.ts";
import { ComparePage } from "./compare.tsx";
import { ListPage } from "./list.tsx";
import { href, route } from "./route.ts";
import { RunPage } from "./runpage.tsx";
import type { About } from "./types.ts";

const KEYS: [string, string][] = [
  ["j k", "next and previous row"],
  ["h l", "fold and unfold"],
  ["[ ]", "previous and next step"],
  ["space", "play through the steps"],
  ["f", "follow the newest step"],
  ["e", "next error"],
  ["z", "zoom to the row"],
  ["o", "open a node's subgraph"],
  ["/", "find"],
  ["c", "copy a link to what is shown"],
  ["x", "in the list: choose for comparison"],
  ["Esc", "all of it again"],
];

function App() {
  const [about, setAbout] = useState<About | null>(null);
  const [help, setHelp] = useState(false);
  const [theme, setTheme] = useState(localStorage.getItem("otel-stream.theme") ?? "");
  const { path } = route.value;

  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("otel-stream.theme", theme);
  }, [theme]);
  useEffect(() => {
    const tell = (): void => {
      if (!document.hidden) void ask<About>("about").then(setAbout, () => undefined);
    };
    tell();
    const timer = setInterval(tell, 4000);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    const heard = (event: KeyboardEvent): void => {
      if (event.key === "?" && (event.target as HTMLElement).tagName !== "INPUT") setHelp((before) => !before);
      if (event.key === "Escape") setHelp(false);
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, []);

  const dark = theme === "dark" || (theme === "" && matchMedia("(prefers-color-scheme: dark)").matches);
  return (
    <>
      <nav>
        <a class="brand" href={href([])}>otel-stream</a>
        <span class="grow" />
        {about?.file ? <span class="hint">{about.file}</span> : about?.takes ? <span class="hint listening">OTLP {about.http.replace("http://", "")} · gRPC {about.grpc}</span> : null}
        <button onClick={() => setHelp(!help)} aria-label="Keys" aria-expanded={help}>?</button>
        <button onClick={() => setTheme(dark ? "light" : "dark")} aria-label={dark ? "Light colours" : "Dark colours"}>◐</button>
      </nav>
      {trouble.value && <p class="warn" role="alert">{trouble.value}</p>}
      {help && (
        <dl class="help">
          {KEYS.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}
        </dl>
      )}
      {path[0] === "run" && path[1] ? <RunPage key={path[1]} id={path[1]} about={about} /> : path[0] === "compare" && path[1] && path[2] ? <ComparePage a={path[1]} b={path[2]} /> : <ListPage about={about} />}
    </>
  );
}

takeToken();
dispatchEvent(new HashChangeEvent("hashchange"));
render(<App />, document.getElementById("app")!);
