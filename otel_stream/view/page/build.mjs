// Builds the page into ../static: the same bytes from the same sources. With --compare it writes nothing, and
// fails if what stands there is not what the sources make.
import { build } from "esbuild";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "static");
const common = { absWorkingDir: here, outdir: out, minify: true, logLevel: "warning", write: false };
const scripts = await build({
  ...common,
  entryPoints: { app: "src/app.tsx", layout: "src/layout.ts" },
  bundle: true,
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "inline",
  metafile: true,
});
const style = await build({ ...common, entryPoints: { app: "src/app.css" } });
const made = new Map([...scripts.outputFiles, ...style.outputFiles].map((file) => [basename(file.path), Buffer.from(file.contents)]));
made.set("index.html", await readFile(join(here, "src/index.html")));
made.set("licences.txt", Buffer.from(await licences(Object.keys(scripts.metafile.inputs))));

const other = [];
for (const [name, bytes] of made) {
  if (!process.argv.includes("--compare")) await writeFile(join(out, name), bytes);
  else if (!bytes.equals(await readFile(join(out, name)).catch(() => Buffer.alloc(0)))) other.push(name);
}
if (other.length > 0) {
  console.error(`otel_stream/view/static is not what the page's source makes (${other.join(", ")}): make page, and commit it`);
  process.exitCode = 1;
}

// The licences of what is bundled: whoever passes it on passes them on, too.
async function licences(inputs) {
  const bundled = new Set(inputs.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []));
  const texts = [...bundled].sort().map(async (name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((found) => /^licen[sc]e/i.test(found));
    return `${name} ${version} (${license})\n\n${(await readFile(join(folder, file), "utf8")).trim()}\n`;
  });
  return (await Promise.all(texts)).join(`\n${"-".repeat(79)}\n\n`);
}
