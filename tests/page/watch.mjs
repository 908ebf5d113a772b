// A run is watched from its first node to the answer of a human, each stage while it lasts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { accessible, assert, browse, link, picture, rest } from "./browser.mjs";

const [gates] = rest;
const go = (name) => writeFileSync(join(gates, name), "");
const HOSTILE = "<img src=x onerror=\"document.title='attacked'\">\\u202e";

await browse(async (open) => {
  const page = await open(link);
  assert.equal(new URL(page.url()).hash, "#/", "the token stays in no address");
  await page.getByRole("link", { name: "shop" }).click();
  const node = (said) => page.locator(`g.node[aria-label^="${said}"]`).waitFor();

  await node("plan: ● 1");
  await node("write: not yet"); // declared, though nobody was there
  go("plan");
  await node("plan: ✔ 1");
  await node("research: ● 8");
  await page.getByRole("row", { name: /research ×8/ }).waitFor();
  await picture(page, "run-live");

  await page.locator('g.node[aria-label^="research:"]').dblclick();
  await node("research / fetch: ● 8");
  const shared = await open(page.url(), { refused: true }); // a link alone has no token
  await shared.getByRole("alert").waitFor();
  await shared.close();
  go("fetch");
  await node("research / fetch: ✔ 8  ⟲ 1");
  await node("write: ● 1");
  go("write");

  await page.getByText("waits for a human:").waitFor();
  assert.ok((await page.locator(".question").textContent()).includes(`Send it? ${HOSTILE}`));
  await node("approve: ◐ 1");
  assert.equal(await page.title(), "otel-stream");
  await accessible(page, "a run");
  await picture(page, "run-waits");

  // Through time: the slider tells the state after a superstep, and what it changed.
  await page.keyboard.press("[");
  await page.getByText("after step 3").waitFor();
  await page.locator(".key.how-changed", { hasText: "draft" }).waitFor();
  await page.keyboard.press("[");
  await page.locator(".key.how-changed", { hasText: "notes" }).waitFor();
  assert.equal(await page.locator(".added").count(), 8);
  assert.ok((await page.locator(".added").first().textContent()).includes(HOSTILE));
  assert.ok(page.url().includes("step=2"));
  await page.reload();
  await page.getByText("after step 2").waitFor();

  // The error of the attempt that was made again, and the span of somebody else below it.
  await page.keyboard.press("Escape");
  await page.keyboard.press("e");
  await page.locator("#pane h3", { hasText: "attempt 1" }).waitFor();
  await page.locator(".row.chosen", { hasText: "attempt 1" }).waitFor();
  assert.ok((await page.locator("#pane").textContent()).includes("ConnectionError"));
  await page.keyboard.press("/");
  await page.keyboard.type("GET");
  await page.getByRole("row", { name: /GET \/search/ }).first().waitFor();
  await page.keyboard.press("Escape");

  await page.getByRole("tab", { name: "Stream" }).click();
  await page.locator(".parts li", { hasText: "updates" }).first().waitFor();
  await picture(page, "run-stream");
  await page.getByRole("button", { name: "copy trace id" }).click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^[0-9a-f]{32}$/);

  go("answer");
  await page.getByRole("link", { name: "answered in" }).waitFor();
  await page.getByRole("link", { name: "All runs" }).click();
  await page.locator("tr", { hasText: "answered" }).waitFor();
  await page.locator("tr", { hasText: "✔ ok" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("thread:t7 state:ok");
  await page.locator("tr", { hasText: "answered" }).waitFor({ state: "detached" });
  assert.equal(await page.locator("tbody tr").count(), 1);
});
