// What every scenario needs: a browser, a page that reports what went wrong on it, and pictures.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { strict as assert } from "node:assert";

const [link, chromium, folder, ...rest] = process.argv.slice(2);
const modules = createRequire(join(process.cwd(), "otel_stream/view/page/package.json"));
const { chromium: launcher } = modules("playwright-core");
const axe = readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");

export { assert, link, rest };

/** Run `scenario` with a function that opens pages; fail on errors, refused content and foreign requests. */
export async function browse(scenario) {
  const browser = await launcher.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
  const wrong = [];
  const origin = new URL(link).origin;
  async function open(address, { width = 1440, height = 900, dark = false, refused = false, scripts = true } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light", reducedMotion: "reduce", javaScriptEnabled: scripts, permissions: ["clipboard-read", "clipboard-write"] });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && !(refused && /status of 40[14]/.test(message.text())) && wrong.push(`console: ${message.text()}`));
    page.on("request", (request) => request.url().startsWith(origin) || /^(data|blob):/.test(request.url()) || wrong.push(`request to ${request.url()}`));
    await page.goto(address);
    return page;
  }
  try {
    await scenario(open);
  } catch (error) {
    console.error(wrong.join("\n")); // what went wrong first is why this did
    throw error;
  } finally {
    await browser.close();
  }
  assert.deepEqual(wrong, []);
}

/** Wait until all that was asked for is shown: what the worker lays out, and two frames. */
export async function settled(page) {
  await page.locator('[aria-busy="true"]').waitFor({ state: "detached" });
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

export async function picture(page, name) {
  await settled(page);
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

/** Fail on what keeps people from using a page: roles, names, contrast, keyboard; but for rules that are `aside`. */
export async function accessible(page, what, aside = []) {
  // By the debugger's way in, as the page's policy runs no script that is not its own.
  await page.evaluate(axe);
  const rules = Object.fromEntries(aside.map((rule) => [rule, { enabled: false }]));
  const found = await page.evaluate(async (rules) => (await globalThis.axe.run({ rules })).violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 4).join(" | ")}`), rules);
  assert.deepEqual(found, [], what);
}
