// Builds the page into ../static: the same bytes from the same sources, so that a check can compare.
import { build } from "esbuild";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "static");
await build({
  absWorkingDir: here,
  entryPoints: { app: "src/app.tsx", layout: "src/layout.ts" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "inline",
  logLevel: "warning",
});
await build({ absWorkingDir: here, entryPoints: { app: "src/app.css" }, outdir: out, minify: true, logLevel: "warning" });
await copyFile(join(here, "src/index.html"), join(out, "index.html"));
