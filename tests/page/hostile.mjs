// Everything that a hostile run shows is text, wherever it is shown, and the page goes on.
import { assert, browse, link, settled } from "./browser.mjs";

const HOSTILE = "<img src=x onerror=\"document.title='attacked'\">";

await browse(async (open) => {
  const page = await open(link, { refused: true });
  async function isText(what) {
    assert.equal(await page.title(), "otel-stream", what);
    assert.equal(await page.locator("img, script:not([src]), iframe, object").count(), 0, what);
    const shown = await page.locator("body").innerText();
    assert.ok(shown.includes("<img src=x") && !shown.includes("\u202e"), what);
  }
  const row = page.locator("tbody tr", { hasText: "<img" });
  await row.waitFor();
  await isText("the list");
  await row.getByRole("link").first().click();
  await page.locator("g.node").first().waitFor();
  await page.getByText("waits for a human:").waitFor();
  await isText("a run");
  for (const [tab, shown] of Object.entries({ State: "button", Stream: ".parts li", Messages: "*", Receivers: "*", Logs: "*" })) {
    await page.getByRole("tab", { name: tab }).click();
    await page.getByRole("tab", { name: tab, selected: true }).waitFor();
    await page.locator(`#pane ${shown}`).first().waitFor();
    await isText(tab);
  }
  // The step that brought megabytes: they are asked for one after the other.
  await page.getByRole("tab", { name: "State" }).click();
  await page.keyboard.press("[");
  await page.getByText("after step 1").waitFor();
  await page.locator(".key", { hasText: "many" }).first().waitFor();
  for (let n = 0; n < 6; n++) {
    const button = page.locator("#pane button", { hasText: /^[▸]|more|load/ }).first();
    if ((await button.count()) === 0) break;
    await button.click();
    await isText("what is unfolded");
  }
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.type("<img");
  await page.getByRole("row", { name: /<img/ }).last().click();
  await page.getByRole("tab", { name: "Span" }).click();
  await page.locator("#pane h3").first().waitFor();
  await isText("a span");

  // Addresses come from others, too.
  for (const hash of [`#/run/${encodeURIComponent(HOSTILE)}`, `#/?q=${encodeURIComponent(HOSTILE)}`, "#/run/..%2f..%2fabout", `#/compare/${encodeURIComponent(HOSTILE)}/x`, "#/run/%00", "#/run/%E0%A4%A"]) {
    await page.evaluate((to) => void (location.hash = to), hash);
    await settled(page);
    assert.equal(await page.title(), "otel-stream", hash);
    assert.equal(await page.locator("img, script:not([src])").count(), 0, hash);
    assert.ok(await page.locator("nav").isVisible(), hash);
  }
  await page.evaluate(() => void (location.hash = "#/"));
  await row.waitFor();
});
